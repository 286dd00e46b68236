"""SeedVR2's VAE: 8 x 8 pixels of 4 frames become one latent of 16 channels; a clip's first frame has one by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import torch

from wan_pipeline.engine.upscaler.seedvr.vae_layers import (
    EPSILON,
    GROUPS,
    Downsampler,
    Middle,
    Past,
    ResidualBlock,
    Upsampler,
    activated,
    convolution,
)

LATENT_CHANNELS = 16
SPACE, TIME = 8, 4
"""Pixels and frames of a latent."""
SCALE = 0.9152
"""By which latents are multiplied for the transformer."""
DOUBLINGS = 2
"""Levels of the decoder that double the number of frames. Large frames, before and after, go through one by one."""
Widths = tuple[int, int, int, int]
PUBLISHED: Widths = (128, 256, 512, 512)


class Vae(torch.nn.Module):
    """Its tensors have the names of the published file. Clips go through slice by slice, in constant memory."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths)

    def encode(self, slices: Iterable[torch.Tensor]) -> torch.Tensor:
        """Frames from -1 to 1, (1, 3, n, h, w): the first by itself, then four at a time -> their latents' means."""
        past: Past = {}
        means = [self.encoder(frames, past)[:, :LATENT_CHANNELS] for frames in slices]
        return torch.cat(means, 2).float() * SCALE

    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """(1, 16, t, h, w) -> frames from -1 to 1: the first by itself, then four at a time."""
        past: Past = {}
        like = self.decoder.conv_in.weight
        for number in range(latents.shape[2]):
            yield self.decoder((latents[:, :, number : number + 1] / SCALE).to(like), past)


class Encoder(torch.nn.Module):
    """The first level halves the frames' sides, the next two their number as well."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        last = len(widths) - 1
        self.conv_in = convolution(3, widths[0])
        self.down_blocks = torch.nn.ModuleList(
            _Level(before, after, 2, [Downsampler(after, number > 0)] if number < last else [], "downsamplers")
            for number, (before, after) in enumerate(pairwise((widths[0], *widths)))
        )
        self.mid_block = Middle(widths[-1])
        self.conv_norm_out = torch.nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = convolution(widths[-1], 2 * LATENT_CHANNELS)

    def forward(self, frames: torch.Tensor, past: Past) -> torch.Tensor:
        """Mean and logarithm of the variance."""
        first, *others = self.down_blocks
        values = torch.cat([first(self.conv_in(frame, past), past) for frame in torch.split(frames, 1, 2)], 2)
        for level in others:
            values = level(values, past)
        made: torch.Tensor = self.conv_out(activated(self.mid_block(values, past), self.conv_norm_out), past)
        return made


class Decoder(torch.nn.Module):
    """The first two levels double the frames' sides and their number, the third their sides."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        widths = (widths[3], widths[2], widths[1], widths[0])
        last = len(widths) - 1
        self.conv_in = convolution(LATENT_CHANNELS, widths[0])
        self.mid_block = Middle(widths[0])
        self.up_blocks = torch.nn.ModuleList(
            _Level(before, after, 3, [Upsampler(after, number < DOUBLINGS)] if number < last else [], "upsamplers")
            for number, (before, after) in enumerate(pairwise((widths[0], *widths)))
        )
        self.conv_norm_out = torch.nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = convolution(widths[-1], 3)

    def forward(self, latents: torch.Tensor, past: Past) -> torch.Tensor:
        values = self.mid_block(self.conv_in(latents, past), past)
        for level in self.up_blocks[:DOUBLINGS]:
            values = level(values, past)
        return torch.cat([self._frame(frame, past) for frame in torch.split(values, 1, 2)], 2)

    def _frame(self, values: torch.Tensor, past: Past) -> torch.Tensor:
        """What is left once there are as many frames as there will be."""
        for level in self.up_blocks[DOUBLINGS:]:
            values = level(values, past)
        made: torch.Tensor = self.conv_out(activated(values, self.conv_norm_out), past)
        return made


class _Level(torch.nn.Module):
    """Residual blocks, then what changes the size."""

    def __init__(self, inputs: int, outputs: int, count: int, resize: list[torch.nn.Module], name: str) -> None:
        super().__init__()
        widths = [inputs, *[outputs] * count]
        self.resnets = torch.nn.ModuleList(ResidualBlock(before, after) for before, after in pairwise(widths))
        if resize:
            self.add_module(name, torch.nn.ModuleList(resize))

    def forward(self, values: torch.Tensor, past: Past) -> torch.Tensor:
        for layers in self.children():  # in the order they were made
            for layer in layers:  # type: ignore[attr-defined]
                values = layer(values, past)
        return values


def widths_of(tensors: Mapping[str, tuple[int, ...]]) -> Widths | None:
    """What a file's tensors, by their shapes, may fit; None if they are of another kind."""
    found = [tensors.get(f"encoder.down_blocks.{number}.resnets.0.conv1.weight", ()) for number in range(4)]
    if any(len(shape) != 5 or not shape[0] or shape[0] % GROUPS for shape in found):
        return None
    one, two, three, four = (shape[0] for shape in found)
    return (one, two, three, four)
