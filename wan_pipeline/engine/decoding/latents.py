"""Final latents as bytes, to be kept with a clip: one tensor of a safetensors file."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from wan_pipeline.errors import GenerationError

NAME = "latents"
FORMAT = {"format": "wan-studio-latents", "version": "1"}


def pack(latents: torch.Tensor) -> bytes:
    """Normalised latents (1, channels, latent frames, h, w), in their own dtype: what is unpacked has the same bits."""
    content: bytes = save({NAME: latents.detach().to("cpu", copy=True).contiguous()}, FORMAT)
    return content


def unpack(content: bytes) -> torch.Tensor:
    """The inverse of `pack`, on the CPU. Raises GenerationError for anything else."""
    try:
        latents: torch.Tensor = load(content)[NAME]
    except (SafetensorError, KeyError, ValueError) as error:
        raise GenerationError(f"The clip's latents cannot be read ({error}); make the clip again.") from error
    if latents.ndim != 5 or latents.shape[0] != 1 or not bool(torch.isfinite(latents).all()):
        raise GenerationError(f"The stored latents are not those of one clip ({tuple(latents.shape)}); make it again.")
    return latents
