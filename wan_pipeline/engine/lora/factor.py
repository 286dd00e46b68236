"""How strong a scheduled LoRA is in the step that is computing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


class Factor:
    """A number that changes from step to step: a tensor that is written to, so that compiled code stays as it is."""

    def __init__(self, factors: Sequence[float], device: torch.device) -> None:
        """`factors` holds one for each step of the clip."""
        self._factors = factors
        self.value = torch.ones((), device=device)
        """Scalar, fp32, on the device."""
        self.listeners: list[Callable[[], None]] = []
        """Called when the value has changed."""

    def begin_step(self, step: int) -> None:
        """Before the step of this number, from 0, computes."""
        self.value.fill_(self._factors[step])
        for listener in self.listeners:
            listener()
