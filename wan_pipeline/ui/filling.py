"""The way from a clip, a job or a dropped file back to the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.request import Draft, Mode
from wan_pipeline.ui import cards
from wan_pipeline.ui.generate_tab import GenerateTab
from wan_pipeline.ui.hints import fill

CREATE, QUEUE, GALLERY = "create", "queue", "gallery"
"""Ids of the page's rooms. The first holds the form and the stage."""


@dataclass(frozen=True)
class Filler:
    """Fills a form and brings it before the person."""

    rooms: gr.Tabs
    tabs: gr.Tabs
    forms: Mapping[Mode, GenerateTab]

    @property
    def outputs(self) -> list[Any]:
        parts = [part for tab in self.forms.values() for part in (*tab.form.components.values(), tab.notice)]
        return [*parts, *(tab.editing for tab in self.forms.values()), self.tabs, self.rooms]

    def fill(self, draft: Draft, message: str = "", editing: str = "", mode: Mode | None = None) -> dict[Any, Any]:
        """The draft in the tab of its kind; `editing` is the job whose settings it shall become."""
        mode = mode or (Mode.IMAGE_TO_VIDEO if draft.image else Mode.TEXT_TO_VIDEO)
        if draft.image and not draft.image.is_file():  # then the box is empty
            draft = replace(draft, image=None)
        updates = {**fill(self.forms[mode].form, draft), **self.notices(message)}
        updates |= {tab.editing: editing if tab.mode is mode else "" for tab in self.forms.values()}
        return updates | {self.tabs: gr.Tabs(selected=mode.value), self.rooms: gr.Tabs(selected=CREATE)}

    def go_on_from(self, image: Path, draft: Draft) -> dict[Any, Any]:
        """The same words and looks from another picture, at its shape, with a new seed."""
        choices = self.forms[Mode.IMAGE_TO_VIDEO].form.choices
        if draft.model not in {spec.id for spec in choices.models}:  # then its numbers mean nothing either
            draft = Draft(prompt=draft.prompt, preset=draft.preset, model=choices.spec.id)
        return self.fill(replace(draft, image=image, seed=None, width=None, height=None))

    def notices(self, message: str) -> dict[Any, Any]:
        """A sentence at the form of either tab. Gradio shows no error of a handler that is not in its queue."""
        return {tab.notice: cards.notice(message) for tab in self.forms.values()}
