"""The mean of the factors over the last steps: exponential, in fp32. The file of a LoRA may hold it instead of them.

Averages of the iterates of gradient descent are less noisy than the last one (Polyak and Juditsky, "Acceleration of
stochastic approximation by averaging", 1992).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

FIRST_STEPS = 10
"""Early on the mean follows sooner: after n steps by at least `FIRST_STEPS / (FIRST_STEPS + n)` or so, as in
TensorFlow's `ExponentialMovingAverage` with `num_updates`. Else it would hold on to the start."""


class Average:
    """The mean of some parameters, in their order."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        """`decay`, from 0 to 1, is what a step leaves of the mean: it reaches back about `1 / (1 - decay)` steps."""
        self._parameters = parameters
        self._decay = decay
        self.values: list[Tensor] = [parameter.detach().float().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the parameters after this step, counted from 1."""
        decay = min(self._decay, (1 + step) / (FIRST_STEPS + step))
        for value, parameter in zip(self.values, self._parameters, strict=True):
            value.lerp_(parameter.float(), 1 - decay)

    def move(self, device: torch.device) -> None:
        self.values = [value.to(device) for value in self.values]

    @torch.no_grad()
    def restore(self, values: Sequence[Tensor]) -> None:
        for value, saved in zip(self.values, values, strict=True):
            value.copy_(saved)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context manager: the parameters have the mean's values."""
        kept = [parameter.data for parameter in self._parameters]
        try:
            for parameter, value in zip(self._parameters, self.values, strict=True):
                parameter.data = value
            yield
        finally:
            for parameter, value in zip(self._parameters, kept, strict=True):
                parameter.data = value
