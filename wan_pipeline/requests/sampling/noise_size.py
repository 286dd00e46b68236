"""The size at which a clip begins, so that it keeps the layout of a clip of that size and the same seed.

`192x128`: the noise is drawn at that size and resampled. `192x128@0.65`: the steps down to noise level 0.65 are made at
that size too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.errors import UserError

if TYPE_CHECKING:
    from wan_pipeline.requests.request import GenerationRequest

PATTERN = r"(\d{1,5})x(\d{1,5})(?:@(0\.\d{1,3}))?"
LAYOUT_LEVEL = 0.65
"""The noise level, 1 pure noise to 0 none, down to which a final that keeps the layout is made at its draft's size.

Measured by benchmarks/demo/keep_layout.py. Lower ones leave the final fewer steps at its own size.
"""


@dataclass(frozen=True)
class NoiseSize:
    """Read from a request's `noise_size`."""

    width: int
    height: int
    level: float | None = None
    """Steps down to this noise level are made at the size too; None: the noise alone is of it."""

    @classmethod
    def read(cls, text: str) -> NoiseSize | None:
        """None for empty text. Raises UserError."""
        squeezed = "".join(text.lower().replace("×", "x").split())
        found = re.fullmatch(PATTERN, squeezed)
        if squeezed and not found:
            raise UserError(
                f"The size '{text[:80]}' cannot be read; write it as 192x128, or as 192x128@{LAYOUT_LEVEL}."
            )
        return cls(int(found[1]), int(found[2]), float(found[3]) if found[3] else None) if found else None

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    def __str__(self) -> str:
        return self.size if self.level is None else f"{self.size}@{self.level:g}"

    @property
    def words(self) -> str:
        """For people."""
        steps = "" if self.level is None else f", and its steps down to noise level {self.level:g}"
        return f"{self.width} x {self.height}{steps}"


def why_no_steps(request: GenerationRequest) -> str:
    """Why this clip cannot make its first steps at another size; empty if it can."""
    if request.input_names:
        return "it has pictures or videos, which are of its own size"
    return "a step cache keeps outputs of one size" if request.step_cache else ""
