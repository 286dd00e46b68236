"""Parameters of a model's encoders and VAE, counted from their configurations. No torch.

Norms and biases are left out, as they are in `MemoryFacts`: together they are less than one in a hundred.
"""

from __future__ import annotations

from itertools import pairwise

from wan_pipeline.models.reading.configs import ImageEncoderConfig, TextEncoderConfig, VaeConfig

KERNEL_3D, KERNEL_2D, KERNEL_TIME = 27, 9, 3
"""Weights of one convolution for each pair of channels: of 3x3x3 pixels, of 3x3, and of three frames."""
MIDDLE_BLOCKS = 2
"""Residual blocks between the encoder's last level and its output; the decoder begins with as many."""


def text_table_params(config: TextEncoderConfig) -> int:
    """The token embedding table."""
    return config.vocab_size * config.d_model


def text_params(config: TextEncoderConfig) -> int:
    """The token embedding table, and each layer's four projections of attention and three of the gated feed-forward."""
    attention = 4 * config.d_model * config.num_heads * config.d_kv
    return text_table_params(config) + config.num_layers * (attention + 3 * config.d_model * config.d_ff)


def image_encoder_params(config: ImageEncoderConfig) -> int:
    """Each layer's four projections of attention and two of the feed-forward."""
    width = config.hidden_size
    return config.num_hidden_layers * (4 * width**2 + 2 * width * config.intermediate_size)


def vae_params(config: VaeConfig) -> int:
    """Encoder and decoder: residual blocks on each level of the picture, and the changes of size between levels."""
    base, factors = config.decoder_base_dim or config.base_dim, (config.dim_mult[-1], *reversed(config.dim_mult))
    encoder = _levels([config.base_dim * factor for factor in (1, *config.dim_mult)], config, config.num_res_blocks)
    decoder = _levels([base * factor for factor in factors], config, config.num_res_blocks + 1)
    middles = (MIDDLE_BLOCKS * 2 * KERNEL_3D + 4) * config.dim_mult[-1] ** 2 * (config.base_dim**2 + base**2)
    return encoder + decoder + middles


def _levels(widths: list[int], config: VaeConfig, blocks: int) -> int:
    """`widths`: channels before the first level, and on each."""
    total = sum(KERNEL_3D * (before * width + (2 * blocks - 1) * width**2) for before, width in pairwise(widths))
    in_time = KERNEL_TIME if any(config.temperal_downsample) else 0
    return total + sum((KERNEL_2D + in_time) * width**2 for width in widths[1:-1])
