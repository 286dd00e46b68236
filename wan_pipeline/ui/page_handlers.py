"""What concerns the page as a whole: what is to be known of the workspace, dropped clips."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.filling import CREATE, Filler
from wan_pipeline.ui.icons import icon

VIEWER = (
    "Another Wan Studio has this workspace open and makes its clips. Here you can look on and add to the queue; "
    "if the other one is closed, this one takes over."
)
Updates = dict[Any, Any]


class PageHandlers:
    """Events of the page as a whole."""

    def __init__(self, studio: Studio, filler: Filler, banner: gr.HTML, projects: Sequence[gr.Dropdown]) -> None:
        self._studio, self._filler, self._banner, self._projects = studio, filler, banner, projects

    def look_around(self) -> Updates:
        """What must be known of the workspace, and the projects there are."""
        names = [("None", ""), *((name, name) for name in self._studio.gallery.facets().projects)]
        return {
            self._banner: banner([*self._studio.notices, *([VIEWER] if self._studio.is_viewer else [])]),
            **{box: gr.Dropdown(choices=names) for box in self._projects},
        }

    def open_file(self, path: str | None) -> Updates:
        """The settings of a clip from anywhere; what of them is not here is said."""
        if not path:
            return {self._filler.rooms: gr.skip()}
        try:
            found = self._studio.draft_of_clip(Path(path))
        except UserError as error:
            return {**self._filler.notices(str(error)), self._filler.rooms: gr.Tabs(selected=CREATE)}
        return self._filler.fill(found.draft, " ".join(found.missing), mode=found.request.mode)


def banner(sentences: Sequence[str]) -> str:
    return "".join(
        f'<p class="banner" role="status">{icon("log")}<span>{escape(text)}</span></p>' for text in sentences
    )
