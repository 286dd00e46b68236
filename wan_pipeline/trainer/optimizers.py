"""AdamW with moments in the factors' own dtype, or by bitsandbytes in eight bits, and its state as tensors by name.

Eight bits: arXiv 2110.02861. Each block of 256 numbers has a scale of its own; moments of small factors stay fp32.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wan_pipeline.errors import UserError
from wan_pipeline.trainer.recipe import Optimizer, Recipe
from wan_pipeline.trainer.trainable import optimizer_fails, optimizer_missing

MOMENTS = ("exp_avg", "exp_avg_sq")
MOMENTS_IN_8_BITS = ("state1", "state2", "absmax1", "absmax2")
"""Of bitsandbytes: the moments, and the largest numbers of their blocks where they are in eight bits."""
SMALLEST_IN_8_BITS = 4096
"""Numbers of a factor from which bitsandbytes keeps its moments in eight bits."""

logger = logging.getLogger(__name__)


def make_optimizer(
    parameters: Sequence[torch.nn.Parameter], recipe: Recipe, device: torch.device
) -> torch.optim.Optimizer:
    """The recipe's, for parameters that will compute on the device. Raises UserError without its library."""
    options: dict[str, Any] = {
        "lr": recipe.learning_rate,
        "betas": (recipe.beta_1, recipe.beta_2),
        "weight_decay": recipe.weight_decay,
    }
    match recipe.optimizer:
        case Optimizer.ADAMW:
            return torch.optim.AdamW(parameters, fused=device.type == "cuda", **options)
        case Optimizer.ADAMW_8BIT:
            made: torch.optim.Optimizer = _bitsandbytes().optim.AdamW8bit(
                parameters, min_8bit_size=SMALLEST_IN_8_BITS, **options
            )
            return made


def check_computes(recipe: Recipe, device: torch.device) -> None:
    """Raise UserError if the recipe's optimizer cannot compute on the device: one step of one tensor is tried."""
    if recipe.optimizer is Optimizer.ADAMW:
        return
    tried = torch.nn.Parameter(torch.zeros(SMALLEST_IN_8_BITS, device=device))
    tried.grad = torch.ones_like(tried)
    optimizer = make_optimizer([tried], recipe, device)
    try:
        optimizer.step()
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        logger.warning("bitsandbytes cannot compute on %s", device, exc_info=error)
        raise UserError(optimizer_fails(device.type)) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Sequence[str]) -> dict[str, Tensor]:
    """The moments by the names of the parameters, given in the optimizer's order. Empty before its first step."""
    kinds = _kinds(optimizer)
    return {
        f"{name}.{kind}": state[kind].cpu()
        for name, state in _states(optimizer, names)
        for kind in kinds
        if kind in state
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Sequence[str], tensors: dict[str, Tensor], steps: int
) -> None:
    """Set the moments that `optimizer_tensors` gave, after `steps` steps of this optimizer."""
    if not steps:
        return
    if not isinstance(optimizer, torch.optim.AdamW):
        _restore_in_8_bits(optimizer, names, tensors, steps)
        return
    state = {
        index: {"step": torch.tensor(float(steps)), **{kind: tensors[f"{name}.{kind}"] for kind in MOMENTS}}
        for index, name in enumerate(names)
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _restore_in_8_bits(
    optimizer: torch.optim.Optimizer, names: Sequence[str], tensors: dict[str, Tensor], steps: int
) -> None:
    """The tables of what each byte stands for are made anew by `init_state`."""
    any_optimizer: Any = optimizer
    (group,) = optimizer.param_groups
    for index, factor in enumerate(group["params"]):
        any_optimizer.init_state(group, factor, 0, index)
    for name, state in _states(optimizer, names):
        state["step"] = steps
        for kind in MOMENTS_IN_8_BITS:
            if kind in state:
                state[kind].copy_(tensors[f"{name}.{kind}"])


def move_state(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Move the moments, and what else is kept of each factor, to the device."""
    is_fused = bool(optimizer.defaults.get("fused"))  # one kernel, which needs its step count on the device too
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and (name != "step" or is_fused):
                state[name] = value.to(device)


def _states(optimizer: torch.optim.Optimizer, names: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    (group,) = optimizer.param_groups
    factors = zip(names, group["params"], strict=True)
    return [(name, optimizer.state[factor]) for name, factor in factors if factor in optimizer.state]


def _kinds(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    return MOMENTS if isinstance(optimizer, torch.optim.AdamW) else MOMENTS_IN_8_BITS


def _bitsandbytes() -> Any:
    try:
        return importlib.import_module("bitsandbytes")
    except (ImportError, OSError) as error:
        raise UserError(optimizer_missing()) from error
