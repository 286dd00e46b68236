"""A module's time on the device, as context managers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKLWan


@contextmanager
def on_device(module: torch.nn.Module, device: torch.device) -> Iterator[None]:
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
def encoding_on(vae: AutoencoderKLWan, device: torch.device | None, *, in_tiles: bool) -> Iterator[None]:
    """Within the block `vae.encode` takes large frames in tiles if so wished, and happens on the `device` if given.

    The VAE is at home before and after each call.
    """
    encode = vae.encode

    def encode_there(*arguments: Any, **options: Any) -> Any:
        assert device is not None  # noqa: S101 - see below
        with on_device(vae, device):
            return encode(*arguments, **options)

    if in_tiles:
        vae.enable_tiling()
    if device is not None:
        vae.encode = encode_there
    try:
        yield
    finally:
        vae.__dict__.pop("encode", None)
        vae.disable_tiling()


@contextmanager
def on_device_when_called(module: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Within the block the module comes to `device` whenever it is called, and goes home after."""
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
