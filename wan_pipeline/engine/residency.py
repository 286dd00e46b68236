"""A module's time on the device, as context managers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKLWan


@contextmanager
def visiting(module: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Within the block the module is on `device`; after it, where it was."""
    home = next(module.parameters()).device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


@contextmanager
def offloaded(pipeline: Any, device: torch.device) -> Iterator[None]:
    """Within the block each of the pipeline's models is on `device` only while it computes, by accelerate's hooks."""
    pipeline.enable_model_cpu_offload(device=device)
    try:
        yield
    finally:
        pipeline.maybe_free_model_hooks()  # the pipeline itself does so only when it runs to its end
        pipeline.remove_all_hooks()


@contextmanager
def tiled(vae: AutoencoderKLWan) -> Iterator[None]:
    """Within the block the VAE decodes large frames in tiles."""
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
