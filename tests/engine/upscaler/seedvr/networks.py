"""Tiny networks of SeedVR2's classes with weights that a seed says, the same in any implementation of these names."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from wan_pipeline.engine.upscaler.seedvr.transformer import Kind, Shape, Transformer
from wan_pipeline.engine.upscaler.seedvr.vae import Vae, Widths

TINY = {
    Kind.SMALL: Shape(width=64, heads=2, head=32, hidden=256, layers=4, own_layers=2, text_width=40),
    Kind.LARGE: Shape(width=64, heads=2, head=32, hidden=256, layers=2, own_layers=2, text_width=40, kind=Kind.LARGE),
}
WIDTHS: Widths = (32, 32, 64, 32)


def weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """By the order of the names. Kernels keep about the size of what they are given."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * (0.4 if len(shape) < 2 else shape[1:].numel() ** -0.5)
        for name, shape in sorted((name, torch.Size(shape)) for name, shape in shapes.items())
    }


def filled(network: Transformer | Vae) -> dict[str, torch.Tensor]:
    """Fill a network by the seed; its weights."""
    made = weights({name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict(made)
    network.requires_grad_(False).eval()
    return made


def write_folder(folder: Path, prefix: str = "") -> None:
    """What a person puts into the folder of upscalers, as half precision."""
    folder.mkdir(parents=True)
    shape = Shape(width=32, heads=1, head=32, hidden=256, layers=3, own_layers=1, text_width=5120)
    for name, network in (("seedvr2_ema_3b_fp16", Transformer(shape)), ("ema_vae_fp16", Vae((32, 32, 32, 32)))):
        tensors = {f"{prefix}{key}": value.half() for key, value in filled(network).items()}
        save_file(tensors, folder / f"{name}.safetensors")


def clip(time: int, height: int, width: int, channels: int, seed: int = 1) -> torch.Tensor:
    """Values (t, h, w, c), the same in any implementation."""
    return torch.randn(time, height, width, channels, generator=torch.Generator().manual_seed(seed))


def numbers(values: torch.Tensor) -> list[float]:
    """A few of them, and their mean square."""
    flat = values.flatten()
    some = flat[:: max(1, len(flat) // 16)].tolist()
    return [*some, float(flat.square().mean())]
