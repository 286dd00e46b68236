"""The HTML of the LoRAs room."""

from __future__ import annotations

from wan_pipeline.lora.notes import MAX_NOTE_CHARACTERS
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.loras.shelf import Query, Shelf


def head(templates: Templates, shelf: Shelf, model: str) -> str:
    """How many LoRAs there are, and for which model the cards speak."""
    return templates.render("loras/head.html", count=shelf.in_all, model=model)


def grid(templates: Templates, shelf: Shelf, query: Query, model: str) -> str:
    """The cards, or why there are none. `model` is the title of the chosen model."""
    return templates.render("loras/grid.html", shelf=shelf, query=query, model=model, max_note=MAX_NOTE_CHARACTERS)
