"""Which models can be trained, and the files that a training of each writes. No torch."""

from __future__ import annotations

from wan_pipeline.errors import UserError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.reading.inspect import Layout, read_layout
from wan_pipeline.models.spec import LastImage

HIGH_NOISE, LOW_NOISE = "high_noise", "low_noise"
"""Ends of the names of the files for two experts."""
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


def expert_suffixes(layout: Layout) -> list[str]:
    """The ends of the names of the files that a training of this model writes."""
    return [HIGH_NOISE, LOW_NOISE] if layout.has_two_experts else [""]
