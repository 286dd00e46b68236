"""One piece of a clip, restored at a larger size: encoded in tiles, one step of the transformer, decoded in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from torch.nn import functional

from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.upscaler.seedvr.colors import with_colors_of
from wan_pipeline.engine.upscaler.seedvr.tiles import count_tiles, tiles_of
from wan_pipeline.engine.upscaler.seedvr.transformer import PATCH, Transformer
from wan_pipeline.engine.upscaler.seedvr.vae import LATENT_CHANNELS, SPACE, TIME, Vae
from wan_pipeline.errors import GenerationError

MULTIPLE = SPACE * PATCH
"""Pixels along each side of a token: frames are continued to the right and below to a multiple."""
SEED = 666
"""The authors' own."""
MOST_LATENTS = 30
"""Latent frames that the transformer's windows were made for."""
LEAST_LATENTS = 3
MOST_TOKENS = 250_000
"""Of a piece: 11 KB each in the transformer, so that 8 GB hold them. The same on larger cards, for the same bits."""


def piece_length(height: int, width: int) -> int:
    """Frames of a piece at the larger size: 117 up to 1920 x 1088, 25 at 3840 x 2160."""
    tokens = -(-height // MULTIPLE) * -(-width // MULTIPLE)
    return TIME * (min(MOST_LATENTS, max(LEAST_LATENTS, MOST_TOKENS // tokens)) - 1) + 1


class Restorer:
    """SeedVR2 on a device: its VAE stays there, the transformer's blocks are streamed to it from host memory."""

    def __init__(self, transformer: Transformer, vae: Vae, text: torch.Tensor, place: Placement) -> None:
        self._place = place
        self._transformer = transformer.to(place.device) if place.on_cpu else transformer
        self._streamed = None if place.on_cpu else StreamedModel(transformer)
        self._vae = vae.to(place.device)
        self._text = text.to(place.device, place.dtype)

    def restore(
        self, frames: torch.Tensor, first: int, factor: int, tick: Callable[[float], None]
    ) -> Iterator[torch.Tensor]:
        """Frames from 0 to 1, (4 n + 1, 3, h, w) -> each (1, 3, h * factor, w * factor), in order.

        `first` is the number of the first in the clip: it seeds the noise. `tick` is told the share that was done.
        """
        frames = frames.to(self._place.device, torch.float16)
        tiles = count_tiles(*(-(-side * factor // MULTIPLE) * PATCH for side in frames.shape[2:]))
        units = 2 * tiles * (1 + len(frames) // TIME) + len(self._transformer.blocks)

        def done() -> None:
            tick(1 / units)

        latents = self.encode(frames, factor, done)
        latents = self.step(latents, first, done)
        if not bool(torch.isfinite(latents).all()):
            raise GenerationError("SeedVR2 made values that are no numbers: its file is damaged; download it again.")
        canvas = self.decode(latents, done)
        height, width = (side * factor for side in frames.shape[2:])
        for number, made in enumerate(canvas):
            large = _enlarged(frames[number : number + 1], factor)
            kept = with_colors_of(made[None].to(large), large)[..., :height, :width]
            yield ((kept + 1) / 2).clamp(0, 1)

    def encode(self, frames: torch.Tensor, factor: int, done: Callable[[], None]) -> torch.Tensor:
        """The latents' means, (16, t, h, w) in float32."""
        large = _enlarged(frames[:1], factor)
        height, width = (side // SPACE for side in large.shape[2:])
        latents = torch.zeros(LATENT_CHANNELS, 1 + len(frames) // TIME, height, width, device=large.device)
        for tile in tiles_of(height, width):
            rows, columns = tile.scaled(SPACE)

            def slices(rows: slice = rows, columns: slice = columns) -> Iterator[torch.Tensor]:
                for some in _slices(frames):
                    part = _enlarged(some, factor)[:, :, rows, columns]
                    yield part.transpose(0, 1)[None].to(self._place.dtype)
                    done()

            latents[:, :, tile.rows, tile.columns] += self._vae.encode(slices())[0] * tile.weights.to(latents)
        return latents

    def step(self, latents: torch.Tensor, first: int, done: Callable[[], None]) -> torch.Tensor:
        """From noise to what the clip should be, in one step of the flow: (16, t, h, w) -> the same."""
        clip = latents.permute(1, 2, 3, 0).to(self._place.dtype)
        noise = torch.stack([_noise(first // TIME + number, clip.shape[1:]) for number in range(len(clip))]).to(clip)
        given = torch.cat((noise, clip, torch.ones_like(clip[..., :1])), -1)
        on_device = streaming([self._streamed], self._place.device) if self._streamed else nullcontext()
        with on_device:
            taken: torch.Tensor = self._transformer(given, self._text, done)
        return (noise.float() - taken.float()).permute(3, 0, 1, 2)  # the noise as it was given, rounded

    def decode(self, latents: torch.Tensor, done: Callable[[], None]) -> torch.Tensor:
        """Frames from -1 to 1, (n, 3, h, w), in half precision in host memory."""
        _, time, height, width = latents.shape
        canvas = torch.zeros(TIME * (time - 1) + 1, 3, height * SPACE, width * SPACE, dtype=torch.float16)
        for tile in tiles_of(height, width, SPACE):
            rows, columns = tile.scaled(SPACE)
            weights, at = tile.weights.to(latents.device), 0
            for made in self._vae.decode(latents[None, :, :, tile.rows, tile.columns]):
                part = (made[0].transpose(0, 1) * weights).to("cpu", torch.float16)
                canvas[at : at + len(part), :, rows, columns] += part
                at += len(part)
                done()
        return canvas


def _slices(frames: torch.Tensor) -> Iterator[torch.Tensor]:
    """The first frame by itself, then those of each latent."""
    yield frames[:1]
    for first in range(1, len(frames), TIME):
        yield frames[first : first + TIME]


def _enlarged(frames: torch.Tensor, factor: int) -> torch.Tensor:
    """(n, 3, h, w) from 0 to 1 -> by bicubic interpolation, from -1 to 1, continued to whole tokens."""
    large = functional.interpolate(frames.float(), scale_factor=factor, mode="bicubic").clamp(0, 1)
    height, width = large.shape[2:]
    return functional.pad(large * 2 - 1, (0, -width % MULTIPLE, 0, -height % MULTIPLE), "replicate")


def _noise(number: int, shape: torch.Size) -> torch.Tensor:
    """That of a latent frame, by its number in the clip: pieces that share frames share their noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED + number))
