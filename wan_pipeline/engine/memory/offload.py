"""Modules on the device only while they compute, as context managers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKLWan


@contextmanager
def on_device(module: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Context manager: the module is on `device`, afterwards on its home device again."""
    home = next(module.parameters()).device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


@contextmanager
def offloaded(pipeline: Any, device: torch.device) -> Iterator[None]:
    """Context manager: each of the pipeline's models is on `device` only while it computes, by accelerate's hooks."""
    pipeline.enable_model_cpu_offload(device=device)
    try:
        yield
    finally:
        pipeline.maybe_free_model_hooks()  # the pipeline itself does so only when it runs to its end
        pipeline.remove_all_hooks()


@contextmanager
def tiled_encode(vae: AutoencoderKLWan) -> Iterator[None]:
    """Context manager: `vae.encode` works in tiles on frames larger than a tile."""
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()


@contextmanager
def encode_on_device(vae: AutoencoderKLWan, device: torch.device) -> Iterator[None]:
    """Context manager: `vae.encode` computes on `device`; between calls the VAE is on its home device."""
    encode = vae.encode

    def encode_there(*arguments: Any, **options: Any) -> Any:
        with on_device(vae, device):
            return encode(*arguments, **options)

    vae.encode = encode_there
    try:
        yield
    finally:
        vae.__dict__.pop("encode", None)


@contextmanager
def forward_on_device(module: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Context manager: the module moves to `device` before each forward, and to its home device after it."""
    home = next(module.parameters()).device
    hooks = [
        module.register_forward_pre_hook(lambda part, _: part.to(device) and None),
        module.register_forward_hook(lambda part, _, output: part.to(home) and output),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
