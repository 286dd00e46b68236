"""What an optimizer's saved state is held to, on any device."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wan_pipeline.trainer.optimizers import make_optimizer, move_state, optimizer_tensors, restore_optimizer
from wan_pipeline.trainer.recipe import Recipe

NAMES = ["large", "small"]
SIZES = [(3, 1371), (16, 4)]
"""The first has enough numbers for moments in eight bits, and a last block that is not full."""


def assert_goes_on_to_the_same_bits(
    recipe: Recipe, device: torch.device, dtype: torch.dtype, folder: Path
) -> dict[str, Tensor]:
    """Five steps, and three that are saved as safetensors and followed by two more, give the same bits. Returns what
    was saved.
    """
    whole = _factors(device, dtype)
    _train(whole, make_optimizer(whole, recipe, device), range(5))
    first = _factors(device, dtype)
    optimizer = make_optimizer(first, recipe, device)
    _train(first, optimizer, range(3))
    save_file(optimizer_tensors(optimizer, NAMES), folder / "state.safetensors")
    saved = load_file(folder / "state.safetensors")

    resumed = [torch.nn.Parameter(factor.detach().cpu()) for factor in first]  # as a training's are before its turn
    optimizer = make_optimizer(resumed, recipe, device)
    restore_optimizer(optimizer, NAMES, saved, steps=3)
    for factor in resumed:
        factor.data = factor.data.to(device)
    move_state(optimizer, device)
    _train(resumed, optimizer, range(3, 5))
    assert all(one.equal(other) for one, other in zip(whole, resumed, strict=True))
    assert all(bool(torch.isfinite(factor).all()) for factor in whole)
    assert not any(one.equal(other) for one, other in zip(whole, _factors(device, dtype), strict=True))
    return saved


def _factors(device: torch.device, dtype: torch.dtype) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(size, generator=generator).to(device, dtype)) for size in SIZES]


def _train(factors: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Steps with gradients of their own; the first of them is 0, as that of a LoRA's first factor is."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for factor in factors:
            noise = torch.randn(factor.shape, generator=generator) * bool(step)
            factor.grad = noise.to(factor.device, factor.dtype)
        optimizer.step()
