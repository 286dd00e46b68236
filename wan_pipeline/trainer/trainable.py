"""Which models can be trained, and the files that a training of each writes. No torch."""

from __future__ import annotations

from wan_pipeline.errors import UserError
from wan_pipeline.models.inspect import Layout, read_layout
from wan_pipeline.models.library import InstalledModel

HIGH_NOISE, LOW_NOISE = "high_noise", "low_noise"
"""Ends of the names of the files for two experts."""


def check_trainable(model: InstalledModel) -> Layout:
    """The layout of a model. Raises UserError for one that cannot be trained here."""
    layout = read_layout(model.spec.title, model.index())
    config = model.config("transformer")
    if model.spec.takes_control or config.get("in_channels") != config.get("out_channels"):
        raise UserError(
            f"{model.spec.title} starts from images or control videos and cannot be trained here yet; "
            "train on its text-to-video relative, whose LoRAs fit it."
        )
    return layout


def expert_suffixes(layout: Layout) -> list[str]:
    """The ends of the names of the files that a training of this model writes."""
    return [HIGH_NOISE, LOW_NOISE] if layout.has_two_experts else [""]
