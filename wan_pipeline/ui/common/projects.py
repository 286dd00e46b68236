"""The box for a clip's project, which the forms of several rooms have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET

MAX_NAME = 80


def project_box() -> gr.Dropdown:
    """Takes any name, and offers those that clips have already."""
    return gr.Dropdown([("None", "")], value="", label="Project", allow_custom_value=True, min_width=120)


def project_name(value: str | None) -> str:
    """The name in a project box; empty for none."""
    return (value or "").strip()[:MAX_NAME]


def offer_projects(page: gr.Blocks, studio: Studio, boxes: Sequence[gr.Dropdown]) -> None:
    """Fill the project boxes with the existing projects when the page loads."""

    def offer() -> dict[Any, Any]:
        names = [("None", ""), *((name, name) for name in studio.gallery.facets().projects)]
        return {box: gr.Dropdown(choices=names) for box in boxes}

    page.load(offer, None, list(boxes), **QUIET)
