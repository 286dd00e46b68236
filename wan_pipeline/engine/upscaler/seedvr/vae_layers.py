"""The layers of SeedVR2's VAE: causal along time, so that a clip goes through in slices of a few frames."""

from __future__ import annotations

import torch
from torch.nn import functional

GROUPS = 32
EPSILON = 1e-6
Past = dict[torch.nn.Module, torch.Tensor]
"""What each convolution still needs of the frames before; empty before a clip's first slice."""


class CausalConv(torch.nn.Conv3d):
    """A convolution that looks back only; before the first frame there is that frame again."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        around = [size // 2 if step == 1 else 0 for size, step in zip(kernel[1:], stride[1:], strict=True)]
        super().__init__(inputs, outputs, kernel, stride, (0, around[0], around[1]))

    def forward(self, values: torch.Tensor, past: Past) -> torch.Tensor:  # type: ignore[override]
        """One slice (1, channels, frames, h, w). All but the first have as many frames as the stride divides."""
        reach, step = self.kernel_size[0] - 1, self.stride[0]
        if reach:
            before = past[self] if self in past else values[:, :, :1].expand(-1, -1, reach, -1, -1)
            values = torch.cat((before, values), 2)
            past[self] = values[:, :, -(reach + 1 - step) :].clone()  # a view would hold the whole slice
        if self.stride[1] > 1:
            values = functional.pad(values, (0, 1, 0, 1))
        return super().forward(values)


def convolution(inputs: int, outputs: int, size: int = 3) -> CausalConv:
    """One that keeps the size."""
    return CausalConv(inputs, outputs, (size, size, size), (1, 1, 1))


class ResidualBlock(torch.nn.Module):
    """Two convolutions beside the input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (torch.nn.GroupNorm(GROUPS, width, EPSILON) for width in (inputs, outputs))
        self.conv1, self.conv2 = convolution(inputs, outputs), convolution(outputs, outputs)
        self.conv_shortcut = convolution(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, values: torch.Tensor, past: Past) -> torch.Tensor:
        half = self.conv1(activated(values, self.norm1), past)
        made: torch.Tensor = self.conv2(activated(half, self.norm2), past)
        made += values if self.conv_shortcut is None else self.conv_shortcut(values, past)
        return made


class FrameAttention(torch.nn.Module):
    """Attention within each frame, by one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.group_norm = torch.nn.GroupNorm(GROUPS, width, EPSILON)
        self.to_q, self.to_k, self.to_v = (torch.nn.Linear(width, width) for _ in range(3))
        self.to_out = torch.nn.ModuleList([torch.nn.Linear(width, width)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        frames = values[0].transpose(0, 1)
        tokens = self.group_norm(frames).flatten(2).transpose(1, 2)
        query, key, value = (layer(tokens)[:, None] for layer in (self.to_q, self.to_k, self.to_v))
        made: torch.Tensor = self.to_out[0](functional.scaled_dot_product_attention(query, key, value)[:, 0])
        return values + made.transpose(1, 2).reshape(frames.shape).transpose(0, 1)[None]


class Middle(torch.nn.Module):
    """Attention between two residual blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attentions = torch.nn.ModuleList([FrameAttention(width)])
        self.resnets = torch.nn.ModuleList(ResidualBlock(width, width) for _ in range(2))

    def forward(self, values: torch.Tensor, past: Past) -> torch.Tensor:
        first, second = self.resnets
        made: torch.Tensor = second(self.attentions[0](first(values, past)), past)
        return made


class Downsampler(torch.nn.Module):
    """Halves the frames' sides, and their number too if `in_time`."""

    def __init__(self, width: int, in_time: bool) -> None:
        super().__init__()
        self.conv = CausalConv(width, width, (3 if in_time else 1, 3, 3), (2 if in_time else 1, 2, 2))

    def forward(self, values: torch.Tensor, past: Past) -> torch.Tensor:
        made: torch.Tensor = self.conv(values, past)
        return made


class Upsampler(torch.nn.Module):
    """Doubles the frames' sides, and their number too if `in_time`, where a clip's first frame stays one."""

    def __init__(self, width: int, in_time: bool) -> None:
        super().__init__()
        self.times = 2 if in_time else 1
        self.upscale_conv = torch.nn.Conv3d(width, width * 4 * self.times, 1)
        self.conv = convolution(width, width)

    def forward(self, values: torch.Tensor, past: Past) -> torch.Tensor:
        parts = self.upscale_conv(values)[0].unflatten(0, (2, 2, self.times, -1))  # columns, rows, times, channels
        columns, rows, times, channels, frames, height, width = range(7)
        order = (channels, frames, times, height, columns, width, rows)
        made = parts.permute(order).flatten(5, 6).flatten(3, 4).flatten(1, 2)[None]
        if self.times > 1 and self.conv not in past:
            made = torch.cat((made[:, :, :1], made[:, :, 2:]), 2)
        larger: torch.Tensor = self.conv(made, past)
        return larger


def activated(values: torch.Tensor, norm: torch.nn.GroupNorm) -> torch.Tensor:
    """Each frame normed by itself, then SiLU."""
    frames = norm(values[0].transpose(0, 1))
    return functional.silu(frames, inplace=True).transpose(0, 1)[None]
