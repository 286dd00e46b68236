"""What both trainings share: a schedule on the clock, averaged weights, the optimizer, the record."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

DENOISER = "denoiser.safetensors"
"""In the work folder: transformer and text encoder, fp32, once they have begun to train."""


@dataclass
class Clock:
    """Progress of a stage from 0 to 1 by wall time, and the learning rate that follows from it."""

    minutes: float
    warmup_steps: int = 150
    started: float = field(default_factory=time.monotonic)
    step: int = 0

    @property
    def elapsed(self) -> float:
        return (time.monotonic() - self.started) / 60

    @property
    def done(self) -> float:
        return min(self.elapsed / self.minutes, 1.0)

    def rate(self, peak: float) -> float:
        """A linear warm-up, then a cosine down to a fiftieth."""
        warmup = min(1.0, (self.step + 1) / self.warmup_steps)
        return peak * warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.done)))


class Average:
    """Exponential moving average of a module's parameters, the weights that are kept."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.shadow = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.module.parameters()], 1 - decay)

    @torch.no_grad()
    def install(self) -> None:
        for parameter, shadow in zip(self.module.parameters(), self.shadow, strict=True):
            parameter.copy_(shadow)


def optimizer_for(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW over parameter groups, each with its `peak` learning rate."""
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=torch.cuda.is_available())


def apply_gradients(optimizer: torch.optim.Optimizer, module: nn.Module, clock: Clock) -> None:
    """One optimizer step at the rate of the hour, with the module's gradients clipped to norm 1."""
    for group in optimizer.param_groups:
        group["lr"] = clock.rate(group["peak"])
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    clock.step += 1


def write_record(path: Path, facts: dict[str, Any], device: str) -> None:
    """A stage's facts as JSON: what `export` gathers into the checkpoint's `training.json`."""
    hardware = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    record = {"hardware": hardware, "torch": torch.__version__, **facts}
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
