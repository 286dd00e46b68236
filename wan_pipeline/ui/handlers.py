"""What the page's events do: parse, call the studio, map the answer. Each gives a dict of component to update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui import cards, examples
from wan_pipeline.ui.fields import CUSTOM, LORA_SLOTS, lora_choices, model_choices
from wan_pipeline.ui.filling import QUEUE, Filler
from wan_pipeline.ui.generate_tab import GenerateTab
from wan_pipeline.ui.hints import placeholders, reshape
from wan_pipeline.ui.stage import Stage, first_job, refresh

Given = Mapping[Any, Any]
"""Values of components, as Gradio passes them for a set of inputs."""
Updates = dict[Any, Any]


class TabHandlers:
    """Events of one tab of the form."""

    def __init__(self, studio: Studio, tab: GenerateTab, view: Stage, filler: Filler) -> None:
        self._studio, self._tab, self._form, self._view, self._filler = studio, tab, tab.form, view, filler

    def generate(self, given: Given) -> Updates:
        """A new clip, or other settings for the waiting one that the form was filled from."""
        editing = given[self._tab.editing]
        try:
            draft = self._form.draft(given)
            if editing:
                self._studio.edit(editing, draft)
                return {self._tab.notice: "", self._tab.editing: "", self._filler.rooms: gr.Tabs(selected=QUEUE)}
            job_id = self._studio.submit(draft, (given[self._tab.project] or "").strip()[:80])
        except UserError as error:
            return {self._tab.notice: cards.notice(str(error))}
        return {self._tab.notice: "", self._view.job: job_id}

    def change_editing(self, editing: str) -> Updates:
        return {
            self._tab.edit_bar: gr.Row(visible=bool(editing)),
            self._tab.generate: gr.Button("Save changes" if editing else "Generate"),
        }

    def estimate(self, given: Given) -> Updates:
        try:
            found = self._studio.estimates.of_draft(self._form.draft(given))
        except UserError as error:
            return {self._tab.estimate: cards.hint(str(error))}
        return {self._tab.estimate: cards.estimate(found.text, found.fits)}

    def change_size(self, given: Given) -> Updates:
        """A custom size starts from the model's first one, so that there is something to change."""
        values = self._form.values(given)
        updates: Updates = {self._tab.custom_size: gr.Row(visible=values["size"] == CUSTOM)}
        if values["size"] == CUSTOM and not values["width"] and not values["height"]:
            first = self._form.spec(values["model"]).sizes[0]
            updates |= {self._form["width"]: str(first.width), self._form["height"]: str(first.height)}
        return updates

    def change_model(self, given: Given) -> Updates:
        """Another model: its sizes, its lengths, what it takes, its own settings as hints."""
        values = self._form.values(given)
        return {**reshape(self._form, self._form.spec(values["model"]), values), **self.change_preset(given)}

    def change_preset(self, given: Given) -> Updates:
        """Another style or speed: what it sets shows in the empty fields."""
        values = self._form.values(given)
        preset, speed = self._studio.presets.get(values["preset"]), self._studio.speeds.get(values["speed"])
        hints = placeholders(self._form.spec(values["model"]), preset, speed)
        return {self._form[name]: gr.Textbox(placeholder=text) for name, text in hints.items()}

    def offer_models(self, given: Given) -> Updates:
        """The models that are here now: one may have been downloaded, imported or removed since."""
        specs, chosen = self._form.choices.offer(), given[self._form["model"]]
        is_here = chosen in {spec.id for spec in specs}
        value: dict[str, Any] = {} if is_here else {"value": specs[0].id}
        return {self._form["model"]: gr.Dropdown(choices=model_choices(specs), **value)}

    def show_lora_rows(self, given: Given) -> Updates:
        """The rows in use and one free one."""
        values = self._form.values(given)
        used = [slot for slot in range(LORA_SLOTS) if values[f"lora_{slot}"]]
        last = max(used, default=-1) + bool(self._studio.loras.names())
        return {row: gr.Row(visible=slot <= last) for slot, row in enumerate(self._tab.lora_rows)}

    def offer_loras(self) -> Updates:
        """The files that are in the folder now."""
        names = tuple(self._studio.loras.names())
        dropdowns = {self._form[f"lora_{slot}"]: gr.Dropdown(choices=lora_choices(names)) for slot in range(LORA_SLOTS)}
        return {
            **dropdowns,
            self._tab.lora_hint: gr.HTML(visible=not names),
            self._tab.lora_rows[0]: gr.Row(visible=bool(names)),
        }

    def use_picture(self, picture: examples.Picture) -> Updates:
        return {self._form["image"]: str(picture.path), self._form["prompt"]: picture.prompt}


class StageHandlers:
    """Events of the stage, and those that lead from it back to the form."""

    def __init__(self, studio: Studio, names: cards.Names, view: Stage, filler: Filler) -> None:
        self._studio, self._names, self._view, self._filler = studio, names, view, filler

    def open_page(self, wanted: str) -> Updates:
        return {self._view.job: first_job(self._studio, wanted)}

    def refresh(self, job_id: str, shown: dict[str, Any]) -> Updates:
        return refresh(self._view, self._studio, self._names, job_id, shown)

    def open_clip(self, event: gr.EventData) -> Updates:
        return {self._view.job: str(event.job)}

    def cancel(self, job_id: str) -> None:
        self._studio.queue.cancel(job_id)

    def reuse(self, job_id: str) -> Updates:
        """All settings of the clip, seed included, in the tab that made it."""
        try:
            draft = self._studio.draft_of_job(job_id)
            self._studio.models.find(draft.model or "")
        except UserError as error:
            return self._filler.notices(str(error))
        return self._filler.fill(draft)

    def use_last_frame(self, job_id: str) -> Updates:
        """Go on from the clip's last picture, with the same words and looks and a new seed, at the picture's shape."""
        try:
            image, draft = self._studio.last_frame_of_job(job_id), self._studio.draft_of_job(job_id)
            return self._filler.go_on_from(image, draft)
        except UserError as error:
            return self._filler.notices(str(error))
