"""Data-parallel training on every GPU of the machine: one process per GPU, gradients averaged after each step."""

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
class ProcessGroup:
    """The processes that train together, as one of them sees them. With a world size of 1 nothing is exchanged."""

    rank: int
    world_size: int
    device: str

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def average_gradients(self, *modules: nn.Module) -> None:
        """Replace every gradient by its mean over all processes, in a single all-reduce: many small ones are slow."""
        if self.world_size == 1:
            return
        grads = [value.grad for module in modules for value in module.parameters() if value.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads]) / self.world_size
        dist.all_reduce(flat)
        parts = torch.split(flat, [grad.numel() for grad in grads])
        torch._foreach_copy_(grads, [part.view_as(grad) for part, grad in zip(parts, grads, strict=True)])

    def mean(self, value: float) -> float:
        """Return the mean of a number over all processes."""
        if self.world_size == 1:
            return value
        shared = torch.tensor(value / self.world_size, device=self.device)
        dist.all_reduce(shared)
        return float(shared)


def set_up(is_main: bool = True) -> None:
    """Allow TF32, and log progress in the main process only."""
    logging.basicConfig(
        level=logging.INFO if is_main else logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def run_on_all_gpus(stage: Callable[..., None], **arguments: Any) -> None:
    """Run `stage(group=..., **arguments)` on the CPU, on the one GPU, or in one process per GPU."""
    size = torch.cuda.device_count()
    if size < 2:
        stage(group=ProcessGroup(0, 1, "cuda" if size else "cpu"), **arguments)
    else:
        run_distributed(size, "cuda", stage, **arguments)


def run_distributed(size: int, device: str, stage: Callable[..., None], **arguments: Any) -> None:
    """Run `stage` in `size` processes of one group. It must be picklable, so a function of a module."""
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = (Path(folder) / "rendezvous").as_uri()
        multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
            _join, (size, device, rendezvous, stage, arguments), nprocs=size
        )


def _join(
    rank: int, size: int, device: str, rendezvous: str, stage: Callable[..., None], arguments: dict[str, Any]
) -> None:
    set_up(is_main=rank == 0)
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=size)
    try:
        stage(group=ProcessGroup(rank, size, device), **arguments)
    finally:
        dist.destroy_process_group()
