"""How strong a LoRA is over the steps of a clip. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

from pydantic import PlainValidator

MAX_POINTS = 32
MAX_FACTOR = 10.0
MAX_CHARACTERS = 1000
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_POINT = re.compile(rf"({_NUMBER})\s*:\s*([+-]?{_NUMBER})", re.ASCII)


@dataclass(frozen=True)
class Schedule:
    """Factors of a LoRA's weight, linear between the points, and constant before the first and after the last."""

    points: tuple[tuple[float, float], ...]
    """(share of the steps that are done, factor), in order. Of two points at one share the later one counts there."""

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read `0:0, 0.3:1`. Raises ValueError with the end of a sentence."""
        _check_length(text)
        parts = text.split(",")
        if len(parts) > MAX_POINTS:
            raise ValueError(f"it has {len(parts)} points, and at most {MAX_POINTS} are allowed")
        matches = [_POINT.fullmatch(part.strip()) for part in parts]
        if not all(matches):
            raise ValueError(f"'{text[:80]}' is no schedule; write points as share of the steps:factor, as 0:0, 0.3:1")
        points = tuple((float(match[1]), float(match[2])) for match in matches if match)
        if any(at > 1 or abs(factor) > MAX_FACTOR for at, factor in points):
            raise ValueError(f"'{text[:80]}' has shares beyond 1, or factors beyond {MAX_FACTOR:g}; keep them within")
        if any(one[0] > two[0] for one, two in pairwise(points)):
            raise ValueError(f"the shares of '{text[:80]}' do not rise; put its points in order")
        schedule = cls(points)
        _check_length(str(schedule))  # ".5" is written as 0.5, and what is stored has to be read again
        return schedule

    def factor(self, done: float) -> float:
        """The factor when this share of the steps, from 0 to 1, is done."""
        passed = [number for number, (at, _) in enumerate(self.points) if at <= done]
        if not passed:
            return self.points[0][1]
        start, low = self.points[passed[-1]]
        if passed[-1] + 1 == len(self.points):
            return low
        end, high = self.points[passed[-1] + 1]
        return low + (high - low) * (done - start) / (end - start)

    def factors(self, steps: int) -> tuple[float, ...]:
        """The factor of each step of a clip: the one at the share that is done when the step begins."""
        return tuple(self.factor(step / steps) for step in range(steps))

    def __str__(self) -> str:
        return ", ".join(f"{_short(at)}:{_short(factor)}" for at, factor in self.points)


def _read(value: object) -> Schedule:
    """Raises ValueError."""
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, str):
        raise ValueError("it is no text such as 0:0, 0.3:1")  # what pydantic takes for a bad value
    return Schedule.parse(value)


StoredSchedule = Annotated[Schedule, PlainValidator(_read)]
"""For fields of parsed classes: written as text."""


def _check_length(text: str) -> None:
    """Raises ValueError with the end of a sentence."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, and at most {MAX_CHARACTERS:,} are allowed")


def _short(number: float) -> str:
    """The number in plain decimals, as it is read; the digits are the fewest that give it again."""
    return f"{Decimal(repr(float(number))):f}".removesuffix(".0")
