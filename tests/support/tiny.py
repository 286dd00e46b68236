"""Tiny but real Wan pipelines, written with `save_pretrained` in the Hub's folder layout, random weights.

`write_demo` is a miniature of the bundled demo model (Wan 2.2 TI2V layout); `write_wan21_text` and `write_wan21_image`
have the Wan 2.1 layouts. All round-trip through the same loader as the real ones.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel, WanVACETransformer3DModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

WORDS = [
    "a",
    "the",
    "red",
    "blue",
    "ball",
    "box",
    "moon",
    "moves",
    "left",
    "right",
    "spins",
    "over",
    "sea",
    "at",
    "night",
]
HIDDEN = 32


def write_demo(folder: Path, seed: int = 0) -> Path:
    """Expanding timesteps, residual 16x VAE with 48 latent channels: serves both modes. Returns `folder`."""
    return _write(folder, seed, vae=vae_16x, channels=48, settings={"expand_timesteps": True})


def write_wan21_text(folder: Path, seed: int = 0) -> Path:
    """Wan 2.1 text-to-video: 8x VAE with 16 latent channels. Returns `folder`."""
    return _write(folder, seed, vae=vae_8x, channels=16, settings={})


def write_wan21_image(folder: Path, seed: int = 0) -> Path:
    """Wan 2.1 image-to-video: a CLIP image encoder, and the image's latents beside the noise. Returns `folder`."""
    _write(folder, seed, vae=vae_8x, channels=16, settings={}, image_dim=HIDDEN, name="WanImageToVideoPipeline")
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    CLIPVisionModel(config).save_pretrained(folder / "image_encoder")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder / "image_processor")
    _add_components(
        folder,
        image_encoder=("transformers", "CLIPVisionModel"),
        image_processor=("transformers", "CLIPImageProcessor"),
    )
    return folder


def write_first_last(folder: Path, seed: int = 0) -> Path:
    """Wan 2.1 first-and-last-frame: image-to-video whose image embedding has places for two images."""
    write_wan21_image(folder, seed)
    transformer = _transformer(16, HIDDEN, pos_embed_seq_len=2 * 5)  # 5: a class token and 2 x 2 patches
    transformer.to(torch.bfloat16).save_pretrained(folder / "transformer")
    return folder


def write_experts_text(folder: Path, seed: int = 0) -> Path:
    """Wan 2.2 A14B text-to-video: one expert for the noisy steps, one for the last ones."""
    _write(folder, seed, vae=vae_8x, channels=16, settings={"boundary_ratio": 0.875})
    return _add_second_expert(folder, _transformer(16, None))


def write_experts_image(folder: Path, seed: int = 0) -> Path:
    """Wan 2.2 A14B image-to-video: two experts, no image encoder, the image's latents beside the noise."""
    _write(folder, seed, vae=vae_8x, channels=16, settings={"boundary_ratio": 0.9}, name="WanImageToVideoPipeline")
    _transformer(16, None, beside=16 + 4).to(torch.bfloat16).save_pretrained(folder / "transformer")
    return _add_second_expert(folder, _transformer(16, None, beside=16 + 4))


def write_vace(folder: Path, seed: int = 0) -> Path:
    """Wan 2.1 VACE: control blocks beside the transformer's own."""
    _write(folder, seed, vae=vae_8x, channels=16, settings={}, name="WanVACEPipeline")
    shutil.rmtree(folder / "transformer")
    transformer = WanVACETransformer3DModel(
        **(_shape(16, 16, None) | {"vace_layers": [0, 1], "vace_in_channels": 2 * 16 + 64})
    )
    transformer.to(torch.bfloat16).save_pretrained(folder / "transformer")
    _add_components(folder, transformer=("diffusers", "WanVACETransformer3DModel"))
    return folder


def _add_second_expert(folder: Path, transformer: WanTransformer3DModel) -> Path:
    transformer.to(torch.bfloat16).save_pretrained(folder / "transformer_2")
    _add_components(folder, transformer_2=("diffusers", "WanTransformer3DModel"))
    return folder


def _write(
    folder: Path,
    seed: int,
    vae: Any,
    channels: int,
    settings: dict[str, Any],
    image_dim: int | None = None,
    name: str = "WanPipeline",
) -> Path:
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    vae(channels).to(torch.bfloat16).save_pretrained(folder / "vae")
    _transformer(channels, image_dim).to(torch.bfloat16).save_pretrained(folder / "transformer")
    text_encoder().to(torch.bfloat16).save_pretrained(folder / "text_encoder")
    tokenizer().save_pretrained(folder / "tokenizer")
    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    ).save_pretrained(folder / "scheduler")
    index = {"_class_name": name, "_diffusers_version": "0.42.1", **settings}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    _add_components(
        folder,
        vae=("diffusers", "AutoencoderKLWan"),
        transformer=("diffusers", "WanTransformer3DModel"),
        text_encoder=("transformers", "UMT5EncoderModel"),
        tokenizer=("transformers", "PreTrainedTokenizerFast"),
        scheduler=("diffusers", "UniPCMultistepScheduler"),
    )
    return folder


def _add_components(folder: Path, **components: tuple[str, str]) -> None:
    path = folder / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8")) | {key: list(value) for key, value in components.items()}
    path.write_text(json.dumps(index, indent=2), encoding="utf-8")


def vae_16x(channels: int = 48) -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=channels,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.1] * channels,
        latents_std=[1.5] * channels,
    )


def vae_8x(channels: int = 16) -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1] * channels,
        latents_std=[1.5] * channels,
    )


def _transformer(
    channels: int, image_dim: int | None, beside: int = 0, pos_embed_seq_len: int | None = None
) -> WanTransformer3DModel:
    """With an image encoder the input also holds 4 mask channels and the image's latents; `beside` counts others."""
    beside = beside if image_dim is None else channels + 4
    shape = _shape(channels + beside, channels, image_dim)
    return WanTransformer3DModel(**shape, pos_embed_seq_len=pos_embed_seq_len)


def _shape(in_channels: int, out_channels: int, image_dim: int | None) -> dict[str, Any]:
    return {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "text_dim": HIDDEN,
        "freq_dim": 32,
        "ffn_dim": 64,
        "num_layers": 2,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 64,
        "image_dim": image_dim,
        "added_kv_proj_dim": None if image_dim is None else 48,
    }


def text_encoder() -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=len(WORDS) + 3, d_model=HIDDEN, d_kv=16, d_ff=64, num_layers=2, num_heads=2, dropout_rate=0.0
    )
    return UMT5EncoderModel(config)


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
