"""What is asked of a training. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.requests.limits import MAX_SEED


@dataclass(frozen=True)
class TrainingRequest:
    """A training as it was asked for; what is None comes from the recipe."""

    dataset: Path
    output: str
    """Name of the LoRA."""
    model: str = "demo"
    recipe: str = "style"
    trigger: str = ""
    """A word before every caption, which calls for what was learnt."""
    seed: int = 1
    steps: int | None = None
    rank: int | None = None
    learning_rate: float | None = None
    accumulation: int | None = None
    """Batches of one step."""
    resume: bool = False
    deterministic: bool = False
    """Only operations whose result is the same bits every time; on a GPU attention's backward is none by itself."""

    @property
    def changes(self) -> dict[str, int | float | None]:
        """Of the recipe."""
        return {
            "steps": self.steps,
            "rank": self.rank,
            "learning_rate": self.learning_rate,
            "accumulation": self.accumulation,
        }


def check_seed(seed: int) -> None:
    """Raise UserError unless the seed is within 0 to MAX_SEED."""
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"Seed {seed} is out of range; use one from 0 to {MAX_SEED:,}.")
