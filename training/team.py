"""Training on every GPU of the machine: one process each, gradients averaged after each step."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing, nn


@dataclass(frozen=True)
class Team:
    """What one process must know of the others. With one GPU, or none, everything here does nothing."""

    rank: int
    size: int
    device: str

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def average_gradients(self, *modules: nn.Module) -> None:
        """Leave the mean over all processes in every gradient: one message, since many small ones would be slow."""
        if self.size == 1:
            return
        grads = [value.grad for module in modules for value in module.parameters() if value.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads]) / self.size
        dist.all_reduce(flat)
        parts = torch.split(flat, [grad.numel() for grad in grads])
        torch._foreach_copy_(grads, [part.view_as(grad) for part, grad in zip(parts, grads, strict=True)])

    def agree(self, value: float) -> float:
        """The mean of a number over all processes, the same everywhere."""
        if self.size == 1:
            return value
        shared = torch.tensor(value / self.size, device=self.device)
        dist.all_reduce(shared)
        return float(shared)


def prepare(leads: bool = True) -> None:
    """Quick arithmetic, and a log of the leading process alone."""
    logging.basicConfig(
        level=logging.INFO if leads else logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def with_all_gpus(stage: Callable[..., None], **arguments: Any) -> None:
    """Run `stage(team=..., **arguments)` on the CPU, on the GPU, or in a process for each GPU."""
    size = torch.cuda.device_count()
    if size < 2:
        stage(team=Team(0, 1, "cuda" if size else "cpu"), **arguments)
    else:
        with_team(size, "cuda", stage, **arguments)


def with_team(size: int, device: str, stage: Callable[..., None], **arguments: Any) -> None:
    """Run `stage` in `size` processes that know of each other; `stage` is to be found by name."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
            _join, (size, device, meeting, stage, arguments), nprocs=size
        )


def _join(
    rank: int, size: int, device: str, meeting: str, stage: Callable[..., None], arguments: dict[str, Any]
) -> None:
    prepare(leads=rank == 0)
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size)
    try:
        stage(team=Team(rank, size, device), **arguments)
    finally:
        dist.destroy_process_group()
