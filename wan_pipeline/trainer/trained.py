"""What came out of a training."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.trainer.files.checkpoints import Checkpoint
from wan_pipeline.trainer.files.output import WrittenLora
from wan_pipeline.trainer.validation import advice, best_step


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    lora: WrittenLora
    steps: int
    loss: float
    """Mean of the last steps."""
    validation: tuple[tuple[int, float], ...]
    """Loss of what was held out, each with its step; step 0 is the base model. Empty if nothing was held out."""
    checkpoints: tuple[Checkpoint, ...]
    seconds: float
    """Of this run, with preparation."""
    peak_memory_gib: float
    warnings: tuple[str, ...]

    @property
    def validation_loss(self) -> float | None:
        """Of the finished LoRA."""
        return self.validation[-1][1] if self.validation else None

    @property
    def best_step(self) -> int | None:
        """The checkpoint with the lowest validation loss; 0 is the base model."""
        return best_step(self.validation)

    @property
    def hint(self) -> str:
        """Which checkpoint to take, if it is not the last one."""
        return advice(self.validation, self.lora.name)
