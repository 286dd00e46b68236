"""What is asked of a training. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.models.vocabulary.words import find_vocabulary, words_of
from wan_pipeline.requests.limits import MAX_SEED
from wan_pipeline.trainer.recipe import Change

MAX_CLIPS = 200
"""For regularisation, made by the base model."""


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
    caption_dropout: float | None = None
    """Share of the examples that are trained without their caption."""
    optimizer: str | None = None
    """By its name in recipes."""
    regularisation: Path | None = None
    """A folder of clips or stills that are trained on beside the dataset, without the trigger word."""
    regularisation_clips: int = 0
    """Clips that the base model makes of the dataset's captions, for the same."""
    resume: bool = False
    deterministic: bool = False
    """Only operations whose result is the same bits every time; on a GPU attention's backward pass is not by itself."""

    @property
    def changes(self) -> dict[str, Change]:
        """Of the recipe."""
        return {
            "steps": self.steps,
            "rank": self.rank,
            "learning_rate": self.learning_rate,
            "accumulation": self.accumulation,
            "caption_dropout": self.caption_dropout,
            "optimizer": self.optimizer,
        }


def check_seed(seed: int) -> None:
    """Raise UserError unless the seed is within 0 to MAX_SEED."""
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"Seed {seed} is out of range; use one from 0 to {MAX_SEED:,}.")


def check_wanted(spec: ModelSpec, count: int, trigger: str) -> None:
    """Raise UserError if the base model cannot make clips for this training, or they would work against it."""
    if not count:
        return
    if not 0 < count <= MAX_CLIPS:
        raise UserError(f"{count} regularisation clips are out of range; choose 1 to {MAX_CLIPS}.")
    if spec.needs_image:
        raise UserError(f"{spec.title} makes no clips from captions alone; give clips by --regularisation instead.")
    if not trigger:
        raise UserError(
            "Regularisation clips of the base model need a --trigger word: without one the LoRA would be taught two "
            "looks for the same captions."
        )


def trigger_notes(trigger: str, spec: ModelSpec) -> list[str]:
    """A sentence about a trigger word that the model cannot distinguish from others."""
    vocabulary = find_vocabulary(spec.vocabulary)
    unknown = [word for word in words_of(trigger) if vocabulary and word not in vocabulary.words]
    if vocabulary is None or not unknown:
        return []
    return [
        f"{spec.title} does not know '{unknown[0][:30]}': all unknown words are one to it; take one of these "
        f"as trigger word: {', '.join(vocabulary.triggers)}."
    ]
