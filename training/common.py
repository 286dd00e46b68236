"""What both trainings share: a schedule on the clock, averaged weights, the optimizer, the record."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

DENOISER = "denoiser.safetensors"
"""In the work folder: transformer and text encoder, fp32, once they have begun to train."""


LOOK_EVERY = 10
"""Steps between two looks at the clock: processes that train together have to agree on the time, and that stalls."""


@dataclass
class Clock:
    """Progress of a stage from 0 to 1 by wall time, and the learning rate that follows from it.

    A stage may be done in parts, each with its own minutes: then `start` and `end` say which part of it this is.
    """

    minutes: float
    warmup_steps: int = 150
    start: float = 0.0
    end: float = 1.0
    agree: Callable[[float], float] | None = None
    """Gives the mean of all processes' progress, so that all have one rate and stop at one step."""
    started: float = field(default_factory=time.monotonic)
    step: int = 0
    done: float = 0.0

    def __post_init__(self) -> None:
        self.done = self.start

    @property
    def is_over(self) -> bool:
        return self.done >= self.end

    @property
    def elapsed(self) -> float:
        return (time.monotonic() - self.started) / 60

    def tick(self) -> None:
        self.step += 1
        now = min(self.start + (self.end - self.start) * self.elapsed / self.minutes, self.end)
        if self.agree is None:
            self.done = now
        elif self.step % LOOK_EVERY == 0:
            self.done = self.agree(now)

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


def apply_gradients(optimizers: Sequence[torch.optim.Optimizer], module: nn.Module, clock: Clock) -> None:
    """One step of each optimizer at the rate of the hour, with the module's gradients clipped to norm 1."""
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(group["peak"])
        optimizer.step()
    clock.tick()


def write_record(work: Path, facts: dict[str, Any], device: str, gpus: int = 1) -> None:
    """A stage's facts as JSON, numbered in the order of the stages: `export` gathers them into `training.json`."""
    hardware = f"{gpus} x {torch.cuda.get_device_name()}" if device == "cuda" else "cpu"
    record = {"hardware": hardware, "torch": torch.__version__, **facts}
    path = work / f"record-{len(list(work.glob('record-*.json'))) + 1:02d}-{facts['stage']}.json"
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
