"""The VAE's convolutions on a CPU, by oneDNN.

For a batch of one, torch chooses its plain 3D convolution, which is six to ten times slower and needs a padded copy of
its input. oneDNN pads by itself, and is fastest with channels last. The results differ by rounding: a few 1e-6 in
pixels from -1 to 1.
"""

from __future__ import annotations

from types import MethodType
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d


def use_onednn(vae: AutoencoderKLWan) -> None:
    """Let the convolutions of this VAE compute by oneDNN, on the CPU and for inference only."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in vae.modules():
        if isinstance(module, WanCausalConv3d):
            module.to(memory_format=torch.channels_last_3d)
            module.forward = MethodType(_convolve, module)
        elif isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _convolve(conv: WanCausalConv3d, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
    """`WanCausalConv3d.forward` of x (batch, channels, T, H, W), which follows the frames in `cache_x`."""
    if x.dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # needs AVX-512
        return cast(torch.Tensor, WanCausalConv3d.forward(conv, x, cache_x))
    left, _, top, _, before, _ = conv._padding
    if cache_x is not None and before > 0:
        x = torch.cat([cache_x, x], dim=2)
        before -= cache_x.shape[2]
    if before > 0:  # zeros stand before the first frame
        x = F.pad(x, (0, 0, 0, 0, before, 0))
    x = x.contiguous(memory_format=torch.channels_last_3d)
    convolved: torch.Tensor = torch.mkldnn_convolution(  # type: ignore[attr-defined]
        x, conv.weight, conv.bias, (0, top, left), conv.stride, conv.dilation, conv.groups
    )
    return convolved
