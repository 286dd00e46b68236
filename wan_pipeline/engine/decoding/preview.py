"""Latents -> small colour frames by two matrices that are fitted to each VAE. Costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from wan_pipeline.engine.decoding.decode import latent_scale
from wan_pipeline.engine.memory.alignment import aligned
from wan_pipeline.storage.files import whole_file

MAX_SIDE = 320
"""Pixels."""
RIDGE = 1e-3
"""Strength of the ridge regression, relative to the mean variance."""
FIELDS = 12
"""Random colour pictures that the matrices are fitted to."""
FIELD_LATENTS = 8
"""Side of these pictures, in latents."""


class LivePreview(Protocol):
    """Makes frames of latents while they are denoised."""

    def frames(self, latents: torch.Tensor) -> NDArray[np.uint8] | None:
        """Frames (latent frames, height, width, 3) of normalised latents (1, channels, latent frames, h, w), which are
        left as they are; None if the frames before are to be kept.
        """


@dataclass(frozen=True)
class Preview:
    """An affine map from each latent vector to a block of colours: the coarse preview, for which no file is needed."""

    matrices: torch.Tensor
    """(2, channels + 1, 3 * block * block): one for the first latent frame, which is one video frame, and one for the
    others, which are several. The last row is the offset."""
    block: int
    """Pixels of a side of the block."""

    def frames(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """Frames (latent frames, height, width, 3) of normalised latents (1, channels, latent frames, h, w)."""
        vectors = latents[0].permute(1, 2, 3, 0).to("cpu", torch.float32)
        matrices = self.matrices[(torch.arange(len(vectors)) > 0).long()].unsqueeze(1)
        blocks = vectors @ matrices[..., :-1, :] + matrices[..., -1:, :]
        colors = F.pixel_shuffle(blocks.permute(0, 3, 1, 2), self.block)
        scale = MAX_SIDE / max(colors.shape[-2:])
        if scale < 1:
            colors = F.interpolate(colors, scale_factor=scale, mode="area")
        return pixels(colors)


def pixels(colors: torch.Tensor) -> NDArray[np.uint8]:
    """Colours (n, 3, height, width) from -1 to 1, on the CPU -> frames (n, height, width, 3)."""
    levels = colors.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    frames: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().numpy()
    return frames


def load_preview(vae: AutoencoderKLWan, cache: Path, fingerprint: str) -> Preview:
    """The preview of a VAE, fitted the first time and then read from the folder `cache`. Raises StorageError."""
    block = vae.config.scale_factor_spatial // 4
    path = cache / f"{fingerprint}.safetensors"
    try:
        return Preview(aligned(load_file(path)["matrices"]), block)
    except (FileNotFoundError, SafetensorError, KeyError):
        preview = Preview(fit(vae, block), block)
    with whole_file(path) as part:
        part.write_bytes(save({"matrices": preview.matrices}))
    return preview


def fit(vae: AutoencoderKLWan, block: int) -> torch.Tensor:
    """Matrices fitted by least squares from the latents of random colour pictures to the pictures, scaled to `block`.

    Each picture is encoded as a still clip of three latent frames: a causal VAE has settled by the third.
    """
    fields = _color_fields(FIELDS, FIELD_LATENTS * vae.config.scale_factor_spatial)
    clips = fields.unsqueeze(2).repeat(1, 1, 1 + 2 * vae.config.scale_factor_temporal, 1, 1)
    latents = vae.encode(clips.to(vae.device)).latent_dist.mode().to("cpu", torch.float32)
    mean, std = latent_scale(vae)
    first, *rest = ((latents - mean) / std).permute(2, 0, 3, 4, 1).flatten(1, 3).double()
    colors = F.interpolate(fields, size=FIELD_LATENTS * block, mode="area")
    targets = F.pixel_unshuffle(colors, block).permute(0, 2, 3, 1).flatten(0, 2).double()
    matrices = least_squares(first, targets), least_squares(torch.cat(rest), targets.repeat(len(rest), 1))
    return torch.stack(matrices).float().contiguous()


def least_squares(vectors: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The matrix and its offset. A slight ridge keeps directions that the pictures do not vary in from growing."""
    center, offset = vectors.mean(0), targets.mean(0)
    spread = (vectors - center).T @ (vectors - center)
    ridge = RIDGE * spread.diagonal().mean() * torch.eye(len(spread), dtype=spread.dtype)
    matrix: torch.Tensor = torch.linalg.solve(spread + ridge, (vectors - center).T @ (targets - offset))
    return torch.cat([matrix, (offset - center @ matrix).unsqueeze(0)])


def _color_fields(count: int, side: int) -> torch.Tensor:
    """Pictures (count, 3, side, side) from -1 to 1: soft blobs, half of them with finer ones on top."""
    generator = torch.Generator("cpu").manual_seed(0)
    coarse, fine = (torch.rand(count, 3, cells, cells, generator=generator) * 2 - 1 for cells in (3, 9))
    fine[::2] = 0
    layers = [F.interpolate(noise, size=side, mode="bicubic", align_corners=False) for noise in (coarse, fine)]
    return (layers[0] + 0.5 * layers[1]).clamp(-1, 1)
