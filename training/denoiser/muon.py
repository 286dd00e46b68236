"""Muon for many small matrices at once.

Computes what `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` does, which takes one matrix at a time: for the
80 of the demo model that is 2,400 kernel launches and 60 ms a step, more than the model itself. Here all matrices of
one shape are one batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (K. Jordan, "Muon", kellerjordan.github.io/posts/muon, 2024)."""
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum, scaled to AdamW's step size (Moonlight, arXiv 2502.16982). For 2-D parameters only."""

    def __init__(self, groups: Iterable[dict[str, Any]], momentum: float = 0.95, weight_decay: float = 0.02) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for matrices in by_shape.values():
                self._update(matrices, group)

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        grads = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
        state = self.state[matrices[0]]
        mean = state.setdefault("momentum", torch.zeros_like(grads))
        mean.lerp_(grads, 1 - group["momentum"])
        update = orthogonal(grads.lerp(mean, group["momentum"])).to(grads.dtype)
        rate = group["lr"] * 0.2 * max(matrices[0].shape) ** 0.5
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, list(update.unbind()), alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return roughly the nearest semi-orthogonal matrix to each of (N, rows, columns), in bf16."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16()
    if tall := x.shape[1] > x.shape[2]:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    done: Tensor = x.mT if tall else x
    return done
