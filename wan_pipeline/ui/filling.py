"""The way from a clip, a job or a dropped file back to the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui import cards
from wan_pipeline.ui.fields import model_choices
from wan_pipeline.ui.generate_tab import GenerateTab
from wan_pipeline.ui.hints import fill

CREATE, QUEUE, GALLERY, MODELS = "create", "queue", "gallery", "models"
"""Ids of the page's rooms. The first holds the form and the stage."""


@dataclass(frozen=True)
class Filler:
    """Fills a form and brings it before the person."""

    rooms: gr.Tabs
    tabs: gr.Tabs
    forms: Mapping[Mode, GenerateTab]

    @property
    def outputs(self) -> list[Any]:
        parts: list[Any] = []
        for tab in self.forms.values():
            parts += [*tab.form.components.values(), *tab.form.parts.values(), tab.notice]
        return [*parts, *(tab.editing for tab in self.forms.values()), self.tabs, self.rooms]

    def fill(self, draft: Draft, message: str = "", editing: str = "", mode: Mode | None = None) -> dict[Any, Any]:
        """The draft in the tab of its kind; `editing` is the job whose settings it shall become."""
        mode = mode or (Mode.IMAGE_TO_VIDEO if draft.image else Mode.TEXT_TO_VIDEO)
        updates = {**fill(self.forms[mode].form, _with_what_is_there(draft)), **self.notices(message)}
        updates |= {tab.editing: editing if tab.mode is mode else "" for tab in self.forms.values()}
        return updates | {self.tabs: gr.Tabs(selected=mode.value), self.rooms: gr.Tabs(selected=CREATE)}

    def go_on_from(self, image: Path, draft: Draft) -> dict[Any, Any]:
        """The same words and looks from another picture, at its shape, with a new seed."""
        offered = self.forms[Mode.IMAGE_TO_VIDEO].form.choices.offer()
        if draft.model not in {spec.id for spec in offered}:  # then its numbers mean nothing either
            draft = Draft(prompt=draft.prompt, preset=draft.preset, model=offered[0].id)
        return self.fill(replace(draft, image=image, last_image=None, seed=None, width=None, height=None))

    def choose(self, spec: ModelSpec) -> dict[Any, Any]:
        """This model in the form that it has, all else as it stands there."""
        mode = Mode.TEXT_TO_VIDEO if Mode.TEXT_TO_VIDEO in spec.modes else Mode.IMAGE_TO_VIDEO
        form = self.forms[mode].form
        model = gr.Dropdown(choices=model_choices(form.choices.offer()), value=spec.id)
        return {form["model"]: model, self.tabs: gr.Tabs(selected=mode.value), self.rooms: gr.Tabs(selected=CREATE)}

    def notices(self, message: str) -> dict[Any, Any]:
        """A sentence at the form of either tab. Gradio shows no error of a handler that is not in its queue."""
        return {tab.notice: cards.notice(message) for tab in self.forms.values()}


def _with_what_is_there(draft: Draft) -> Draft:
    """Without files that are gone; then their boxes are empty."""

    def here(path: Path | None) -> Path | None:
        return path if path and path.is_file() else None

    return replace(
        draft,
        image=here(draft.image),
        last_image=here(draft.last_image),
        control_video=here(draft.control_video),
        control_mask=here(draft.control_mask),
        reference_images=tuple(path for path in draft.reference_images if path.is_file()),
    )
