"""Tiny but real audio pipelines of diffusers with random weights, written with `save_pretrained`."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AceStepPipeline,
    AceStepTransformer1DModel,
    AutoencoderOobleck,
    FlowMatchEulerDiscreteScheduler,
    LongCatAudioDiTPipeline,
    LongCatAudioDiTTransformer,
    LongCatAudioDiTVae,
    StableAudio3Pipeline,
)
from diffusers.models.autoencoders.autoencoder_same import AutoencoderSAME
from diffusers.models.transformers.transformer_stable_audio3 import StableAudio3DiTModel
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
from transformers import Qwen3Config, Qwen3Model, T5GemmaConfig, T5GemmaEncoderModel

from tests.support.tiny import HIDDEN, text_encoder, tokenizer

LATENT = 8
"""Channels of the latents."""


def write_stable_audio(folder: Path) -> Path:
    """Stereo at 44.1 kHz, 8 steps that add noise anew. Returns `folder`."""
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    module = {"hidden_size": HIDDEN, "intermediate_size": HIDDEN, "vocab_size": 64, **shape}
    vae = AutoencoderSAME(
        encoder_channels=8, encoder_c_mults=[2], encoder_transformer_depths=[1], latent_dim=LATENT, dim_heads=8
    )
    for weights in vae.parameters():  # as they are made, the decoder's blocks pass nothing on
        torch.nn.init.normal_(weights, std=0.2)
    StableAudio3Pipeline(
        vae=vae,
        text_encoder=T5GemmaEncoderModel(
            T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=64)
        ),
        tokenizer=tokenizer(),
        duration_embedder=StableAudio3DurationEmbedder(output_dim=HIDDEN, fourier_dim=16),
        transformer=StableAudio3DiTModel(
            io_channels=LATENT,
            embed_dim=HIDDEN,
            depth=2,
            num_heads=2,
            cond_token_dim=HIDDEN,
            global_cond_dim=HIDDEN,
            local_add_cond_dim=LATENT + 1,
            timestep_features_dim=16,
            num_memory_tokens=4,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
    ).save_pretrained(folder)
    return folder


def write_ace_step(folder: Path) -> Path:
    """Stereo at 48 kHz, a turbo model. Returns `folder`."""
    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    sizes = {"hidden_size": HIDDEN, "intermediate_size": HIDDEN, **heads}
    AceStepPipeline(
        vae=AutoencoderOobleck(
            encoder_hidden_size=4,
            downsampling_ratios=[2, 4, 4, 6, 10],
            channel_multiples=[1, 1, 1, 1, 1],
            decoder_channels=4,
            decoder_input_channels=LATENT,
            sampling_rate=48_000,
        ),
        text_encoder=Qwen3Model(Qwen3Config(**sizes, num_hidden_layers=2, vocab_size=64)),
        tokenizer=tokenizer(),
        transformer=AceStepTransformer1DModel(
            **sizes,
            num_hidden_layers=2,
            in_channels=3 * LATENT,
            audio_acoustic_hidden_dim=LATENT,
            is_turbo=True,
        ),
        condition_encoder=AceStepConditionEncoder(
            **sizes,
            text_hidden_dim=HIDDEN,
            timbre_hidden_dim=LATENT,
            num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=1,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    ).save_pretrained(folder)
    return folder


def write_longcat(folder: Path) -> Path:
    """Mono at 24 kHz. Returns `folder`."""
    torch.manual_seed(0)
    LongCatAudioDiTPipeline(
        vae=LongCatAudioDiTVae(
            channels=8, c_mults=[1, 1], strides=[32, 64], latent_dim=LATENT, encoder_latent_dim=2 * LATENT
        ),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        transformer=LongCatAudioDiTTransformer(
            dit_dim=HIDDEN, dit_depth=2, dit_heads=2, dit_text_dim=HIDDEN, latent_dim=LATENT
        ),
    ).save_pretrained(folder)
    return folder
