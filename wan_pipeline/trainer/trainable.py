"""What can be trained here, and the files that a training of each model writes. No torch."""

from __future__ import annotations

from importlib.util import find_spec

from wan_pipeline.errors import UserError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.inspect import Layout, read_layout
from wan_pipeline.models.spec import LastImage
from wan_pipeline.trainer.recipe import Optimizer, Recipe

HIGH_NOISE, LOW_NOISE = "high_noise", "low_noise"
"""Ends of the names of the files for two experts."""
DEVICES_IN_8_BITS = ("cuda", "xpu", "cpu")
"""That bitsandbytes has 8-bit optimizers for, by torch's names."""
SUFFIXES = ("", HIGH_NOISE, LOW_NOISE)
"""All ends that a file of any training may have."""


def check_trainable(model: InstalledModel) -> Layout:
    """The layout of a model. Raises UserError for one that cannot be trained here."""
    spec = model.spec
    if spec.takes_control or spec.last_image is LastImage.REQUIRED:
        reason = "control videos" if spec.takes_control else "a first and a last image"
        raise UserError(
            f"{spec.title} works from {reason} and cannot be trained here; train on its text-to-video relative, whose "
            "LoRAs fit it."
        )
    return read_layout(spec.title, model.index())


def check_optimizer(recipe: Recipe, device: str | None) -> None:
    """Raise UserError if the recipe's optimizer needs a library that is not installed, or has no code for a device of
    torch's that is known already.
    """
    if recipe.optimizer is Optimizer.ADAMW:
        return
    if find_spec("bitsandbytes") is None:
        raise UserError(optimizer_missing())
    if device is not None and device not in DEVICES_IN_8_BITS:
        raise UserError(optimizer_fails(device))


def optimizer_missing() -> str:
    """The error without bitsandbytes, or with one that cannot be loaded."""
    return (
        f"The optimizer {Optimizer.ADAMW_8BIT} needs bitsandbytes, which is not installed here; run: "
        f"pip install -r requirements-8bit.txt, or train with the optimizer {Optimizer.ADAMW}."
    )


def optimizer_fails(device: str) -> str:
    """The error where bitsandbytes is installed and cannot compute."""
    return (
        f"The optimizer {Optimizer.ADAMW_8BIT} does not run on this {device}: bitsandbytes has no working code for it; "
        f"train with the optimizer {Optimizer.ADAMW}."
    )


def expert_suffixes(layout: Layout) -> list[str]:
    """The ends of the names of the files that a training of this model writes."""
    return [HIGH_NOISE, LOW_NOISE] if layout.has_two_experts else [""]
