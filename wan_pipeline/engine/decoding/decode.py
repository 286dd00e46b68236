"""Latents -> frames: one latent frame at a time and, where memory is short, one tile of the picture at a time.

Decoded frames go to the machine's memory at once, so the device never holds more than one piece of the clip.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from numpy.typing import NDArray

from wan_pipeline.errors import GenerationError
from wan_pipeline.planning.costs import TILE_OVERLAP, tile_count
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled


def decode(vae: AutoencoderKLWan, latents: torch.Tensor, observer: Observer, tile: int = 0) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of normalised latents (1, channels, latent frames, h, w), computed in the VAE's dtype.

    `tile` is the side of the tiles in pixels; 0 decodes whole frames, with the bits of the stock `decode`.
    Raises Cancelled between latent frames, GenerationError if the decoder's output is not a number.
    """
    return np.concatenate([_pixels(piece) for piece in decoded_pieces(vae, latents, observer, tile)])


def decoded_pieces(
    vae: AutoencoderKLWan, latents: torch.Tensor, observer: Observer, tile: int = 0
) -> Iterator[torch.Tensor]:
    """The frames that `decode` rounds, in pieces (3, t, H, W), fp32 from -1 to 1. Raises as `decode`."""
    scaled = denormalise(vae, latents.to(torch.float32)).to(vae.dtype)
    tiles, passes = _tiles(vae, scaled, tile), _Passes(observer, decoder_passes(vae, latents, tile))
    if len(tiles) == 1:
        yield from _decode_frames(vae, scaled, passes)
    else:
        yield from torch.split(_blend(vae, scaled, tiles, passes), vae.config.scale_factor_temporal, dim=1)


def decoder_passes(vae: AutoencoderKLWan, latents: torch.Tensor, tile: int = 0) -> int:
    """How often the decoder runs: once for each latent frame and tile."""
    return latents.shape[2] * len(_tiles(vae, latents, tile))


def denormalise(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """From the unit variance of the transformer's latents to the VAE's own scale."""
    mean, std = (value.to(latents) for value in latent_scale(vae))
    return latents * std + mean


def latent_scale(vae: AutoencoderKLWan) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the VAE's latents, fp32 (1, channels, 1, 1, 1) on the CPU."""
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std


@dataclass(frozen=True)
class _Tile:
    """A rectangle of the picture, in latent pixels."""

    rows: slice
    columns: slice


class _Passes:
    """Reports progress before each of the decoder's `total` passes."""

    def __init__(self, observer: Observer, total: int) -> None:
        self._observer = observer
        self._total = total
        self._started, self._done = time.monotonic(), 0

    def begin_next(self) -> None:
        """Raises Cancelled."""
        check_cancelled(self._observer)
        each = (time.monotonic() - self._started) / self._done if self._done else None
        eta = None if each is None else each * (self._total - self._done)
        self._observer.progress(Progress(Stage.DECODING, self._done, self._total, eta))
        self._done += 1


def _decode_frames(vae: AutoencoderKLWan, latents: torch.Tensor, passes: _Passes) -> Iterator[torch.Tensor]:
    """The frames (3, t, H, W) of each latent frame, fp32 from -1 to 1: one for the first, then four at a time."""
    vae.clear_cache()
    try:
        projected = vae.post_quant_conv(latents)
        for index in range(projected.shape[2]):
            passes.begin_next()
            vae._conv_idx = [0]
            frame = projected[:, :, index : index + 1]
            first = {"first_chunk": True} if index == 0 else {}
            output = vae.decoder(frame, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, **first)
            if vae.config.patch_size is not None:
                output = unpatchify(output, patch_size=vae.config.patch_size)
            piece = output[0].float()
            if not bool(torch.isfinite(piece).all()):
                raise GenerationError(
                    "The decoder gave values that are not numbers; the model's VAE weights are damaged."
                )
            yield piece.clamp_(-1.0, 1.0)
    finally:
        vae.clear_cache()  # else a decoder stopped half way would hold the frames it has seen


def _pixels(video: torch.Tensor) -> NDArray[np.uint8]:
    """(3, T, H, W) from -1 to 1 -> (T, H, W, 3) from 0 to 255. Writes over `video`."""
    pixels = video.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    frames: NDArray[np.uint8] = pixels.permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return frames


def _blend(vae: AutoencoderKLWan, latents: torch.Tensor, tiles: list[_Tile], passes: _Passes) -> torch.Tensor:
    """(3, T, H, W) on the CPU: the weighted mean of all tiles, whose weights fall towards their edges."""
    ratio, (height, width) = vae.spatial_compression_ratio, latents.shape[3:]
    weights = [_weights(tile, height, width, ratio) for tile in tiles]
    total = torch.zeros(height * ratio, width * ratio)
    for tile, weight in zip(tiles, weights, strict=True):
        total[_scaled(tile.rows, ratio), _scaled(tile.columns, ratio)] += weight
    frames = (latents.shape[2] - 1) * vae.config.scale_factor_temporal + 1
    video = torch.zeros(3, frames, height * ratio, width * ratio)
    for tile, weight in zip(tiles, weights, strict=True):
        rows, columns = _scaled(tile.rows, ratio), _scaled(tile.columns, ratio)
        share, start = weight / total[rows, columns], 0
        for piece in _decode_frames(vae, latents[:, :, :, tile.rows, tile.columns], passes):
            video[:, start : start + piece.shape[1], rows, columns] += piece.cpu() * share
            start += piece.shape[1]
    return video


def _tiles(vae: AutoencoderKLWan, latents: torch.Tensor, tile: int) -> list[_Tile]:
    ratio, (height, width) = vae.spatial_compression_ratio, latents.shape[3:]
    return [
        _Tile(rows, columns)
        for rows in tile_spans(height, tile // ratio, TILE_OVERLAP // ratio)
        for columns in tile_spans(width, tile // ratio, TILE_OVERLAP // ratio)
    ]


def tile_spans(side: int, tile: int, overlap: int) -> list[slice]:
    """The fewest spans of length `tile` that cover the side and overlap by `overlap`, evenly spaced.

    One span if `tile` is 0. Tiles shorter than twice the overlap share half of their length instead.
    """
    if not tile or tile >= side:
        return [slice(0, side)]
    count = tile_count(side, tile, overlap)
    starts = [round(index * (side - tile) / (count - 1)) for index in range(count)]
    return [slice(start, start + tile) for start in starts]


def _weights(tile: _Tile, height: int, width: int, ratio: int) -> torch.Tensor:
    """(H, W): 1 inside, falling towards each edge that is not the picture's own."""
    rows, columns = (_ramp(span, side, ratio) for span, side in ((tile.rows, height), (tile.columns, width)))
    return rows[:, None] * columns[None, :]


def _ramp(span: slice, side: int, ratio: int) -> torch.Tensor:
    length = (span.stop - span.start) * ratio
    rising = (torch.arange(length) + 1) / (min(TILE_OVERLAP, length) + 1)
    before = rising if span.start else torch.ones(length)
    after = rising.flip(0) if span.stop < side else torch.ones(length)
    return before.clamp(max=1.0) * after.clamp(max=1.0)


def _scaled(span: slice, ratio: int) -> slice:
    return slice(span.start * ratio, span.stop * ratio)
