"""The demo model's architecture: diffusers' own Wan classes at a small size, after Wan 2.2 TI2V-5B."""

from __future__ import annotations

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

LATENT_CHANNELS = 48
SPATIAL, TEMPORAL = 16, 4
TEXT_DIM = 192


def make_vae(channels: int = LATENT_CHANNELS) -> AutoencoderKLWan:
    """Compress 16x16x4 into 48 channels, as Wan 2.2 does; 4x4 pixel patches keep the decoder fast on a CPU."""
    return AutoencoderKLWan(
        base_dim=48,
        decoder_base_dim=48,
        z_dim=channels,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[True, True],
        is_residual=True,
        in_channels=48,
        out_channels=48,
        patch_size=4,
        scale_factor_spatial=SPATIAL,
        scale_factor_temporal=TEMPORAL,
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    )


def make_transformer(channels: int = LATENT_CHANNELS) -> WanTransformer3DModel:
    """12 million parameters. Per-token timestep embeddings let one checkpoint do text and image to video."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=5,
        attention_head_dim=64,
        in_channels=channels,
        out_channels=channels,
        text_dim=TEXT_DIM,
        freq_dim=128,
        ffn_dim=832,
        num_layers=8,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=128,
    )


def make_text_encoder(vocabulary: int) -> UMT5EncoderModel:
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary,
            d_model=TEXT_DIM,
            d_kv=32,
            d_ff=384,
            num_layers=3,
            num_heads=6,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
            is_encoder_decoder=False,
        )
    )


def make_scheduler() -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=3.0,
        solver_order=2,
        num_train_timesteps=1000,
    )
