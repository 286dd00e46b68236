"""Latents -> small colour frames by one matrix, fitted to each VAE: a look at the clip that costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

MAX_SIDE = 320
FIELDS = 12
FIELD_LATENTS = 8
"""Side of the fitted colour fields, in latents."""


@dataclass(frozen=True)
class Preview:
    """`matrix` (channels + 1, 3 * block * block) predicts a block of colours from each latent vector and a one."""

    matrix: torch.Tensor
    block: int

    def frames(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """(latent frames, height, width, 3) of normalised latents (1, channels, latent frames, h, w)."""
        vectors = latents[0].permute(1, 2, 3, 0).to("cpu", torch.float32)
        blocks = vectors @ self.matrix[:-1] + self.matrix[-1]
        colors = F.pixel_shuffle(blocks.permute(0, 3, 1, 2), self.block)
        scale = MAX_SIDE / max(colors.shape[-2:])
        if scale < 1:
            colors = F.interpolate(colors, scale_factor=scale, mode="area")
        pixels = colors.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        frames: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        return frames


def load_preview(vae: AutoencoderKLWan, cache: Path, fingerprint: str) -> Preview:
    """The preview of a VAE, fitted the first time and then read from `cache`."""
    block = vae.config.scale_factor_spatial // 4
    path = cache / f"{fingerprint}.safetensors"
    try:
        return Preview(load_file(path)["matrix"], block)
    except (FileNotFoundError, SafetensorError, KeyError):
        preview = Preview(fit(vae, block), block)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({"matrix": preview.matrix}, part)
    part.replace(path)
    return preview


def fit(vae: AutoencoderKLWan, block: int) -> torch.Tensor:
    """Least squares from the latents of smooth random colour fields to the fields themselves, shrunk to `block`."""
    fields = _color_fields(FIELDS, FIELD_LATENTS * vae.config.scale_factor_spatial)
    latents = vae.encode(fields.to(vae.device)).latent_dist.mode()[:, :, 0].to("cpu", torch.float32)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std))
    vectors = ((latents - mean) / std).permute(0, 2, 3, 1).flatten(0, 2)
    colors = F.interpolate(fields[:, :, 0], size=FIELD_LATENTS * block, mode="area")
    targets = F.pixel_unshuffle(colors, block).permute(0, 2, 3, 1).flatten(0, 2)
    known = torch.cat([vectors, torch.ones(len(vectors), 1)], dim=1).double()
    ridge = 1e-3 * len(known) * torch.eye(known.shape[1], dtype=torch.float64)
    matrix: torch.Tensor = torch.linalg.solve(known.T @ known + ridge, known.T @ targets.double())
    return matrix.float().contiguous()


def _color_fields(count: int, side: int) -> torch.Tensor:
    """Still one-frame videos (count, 3, 1, side, side) in -1..1: soft blobs, half of them with finer ones on top."""
    generator = torch.Generator("cpu").manual_seed(0)
    coarse, fine = (torch.rand(count, 3, cells, cells, generator=generator) * 2 - 1 for cells in (3, 9))
    fine[::2] = 0
    layers = [F.interpolate(noise, size=side, mode="bicubic", align_corners=False) for noise in (coarse, fine)]
    return (layers[0] + 0.5 * layers[1]).clamp(-1, 1).unsqueeze(2)
