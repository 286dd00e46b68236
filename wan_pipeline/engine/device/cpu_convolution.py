"""The VAE's convolutions on a CPU, by oneDNN.

For one clip at a time torch's choice of an implementation falls on its plain 3D convolution, which is six to ten times
slower and wants a padded copy of its input. oneDNN takes the padding itself, and is at its best when the channels of
a pixel lie side by side. The result is the same to rounding: a few 1e-6 in pixels that go from -1 to 1.
"""

from __future__ import annotations

from types import MethodType

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d


def use_onednn(vae: AutoencoderKLWan) -> None:
    """Give each convolution of this one VAE, in fp32 on the CPU and for inference only, the quicker way."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in vae.modules():
        if isinstance(module, WanCausalConv3d):
            module.to(memory_format=torch.channels_last_3d)
            module.forward = MethodType(_convolve, module)
        elif isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _convolve(conv: WanCausalConv3d, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
    """What `WanCausalConv3d.forward` computes of x (batch, channels, T, H, W) after the frames in `cache_x`."""
    left, _, top, _, before, _ = conv._padding
    if cache_x is not None and before > 0:
        x = torch.cat([cache_x, x], dim=2)
        before -= cache_x.shape[2]
    if before > 0:  # before the first frame there is nothing
        x = F.pad(x, (0, 0, 0, 0, before, 0))
    x = x.contiguous(memory_format=torch.channels_last_3d)
    convolved: torch.Tensor = torch.mkldnn_convolution(  # type: ignore[attr-defined]
        x, conv.weight, conv.bias, (0, top, left), conv.stride, conv.dilation, conv.groups
    )
    return convolved
