"""What the stages share: a schedule by wall time, averaged weights, the optimizer, the record of a run."""

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
"""File of the work folder with transformer and text encoder in fp32, written by the denoiser stage."""

SYNC_EVERY = 10
"""Steps between two synchronisations of the clock, each of which stalls the processes that train together."""


@dataclass
class Clock:
    """Progress of a stage from 0 to 1 by wall time, and the learning rate at that progress.

    A stage may be run in parts, each with its own minutes: `start` and `end` are the progress at the part's ends.
    """

    minutes: float
    warmup_steps: int = 150
    start: float = 0.0
    end: float = 1.0
    synchronise: Callable[[float], float] | None = None
    """Returns the mean progress of all processes, so that they share one rate and stop at the same step."""
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
        if self.synchronise is None:
            self.done = now
        elif self.step % SYNC_EVERY == 0:
            self.done = self.synchronise(now)

    def rate(self, peak: float) -> float:
        """Return the learning rate: linear warm-up, then cosine decay to 2 % of `peak`."""
        warmup = min(1.0, (self.step + 1) / self.warmup_steps)
        return peak * warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.done)))


class MovingAverage:
    """Exponential moving average of a module's parameters: the weights that are saved."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.shadow = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.module.parameters()], 1 - decay)

    @torch.no_grad()
    def copy_to_module(self) -> None:
        for parameter, shadow in zip(self.module.parameters(), self.shadow, strict=True):
            parameter.copy_(shadow)


def optimizer_for(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return AdamW over parameter groups, each with its `peak` learning rate."""
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=torch.cuda.is_available())


def optimizer_step(optimizers: Sequence[torch.optim.Optimizer], module: nn.Module, clock: Clock) -> None:
    """Clip the module's gradients to norm 1, step each optimizer at the current rate, and advance the clock."""
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(group["peak"])
        optimizer.step()
    clock.tick()


def write_record(work: Path, facts: dict[str, Any], device: str, gpus: int = 1) -> None:
    """Write a stage's facts as JSON, numbered in the order they ran; `export` collects them into `training.json`."""
    hardware = f"{gpus} x {torch.cuda.get_device_name()}" if device == "cuda" else "cpu"
    record = {"hardware": hardware, "torch": torch.__version__, **facts}
    path = work / f"record-{len(list(work.glob('record-*.json'))) + 1:02d}-{facts['stage']}.json"
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
