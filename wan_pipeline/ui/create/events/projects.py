"""What the form does with the open project: where its settings come from, and what of it is saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.projects.project import DEFAULT, Project
from wan_pipeline.requests.layers import LAYERED, STYLES, Layer, Setup, merge_chosen, settings_of, shown
from wan_pipeline.requests.options import OPTIONS
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.requests.sampling.guidance_interval import interval_text
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Updates, Values
from wan_pipeline.ui.common.messages import notice
from wan_pipeline.ui.common.names import look_choices
from wan_pipeline.ui.common.projects import project_choices
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create.form import read_draft
from wan_pipeline.ui.create.layout import FormLayout

TITLES = {option.field: option.name.replace("-", " ").capitalize() for option in OPTIONS} | {"loras": "LoRAs"}
LAYER_TITLES = {
    Layer.MODEL: "model",
    Layer.PRESET: "style",
    Layer.QUALITY: "quality",
    Layer.SPEED: "speed",
    Layer.PROJECT: "project",
    Layer.SHOT: "shot",
    Layer.FORM: "this form",
}


def origins(templates: Templates, requests: RequestResolver, draft: Draft) -> str:
    """A table of all layered settings, and where each comes from.

    What the form says as the project would have it anyway is the project's. Raises UserError.
    """
    chosen, merged = merge_chosen(draft, requests.layers), requests.merged(draft)
    blank: dict[str, Any] = dict.fromkeys(LAYERED)
    without = replace(draft, **blank)
    below = requests.merged(without)
    own = dict(settings_of(requests.layers.project, chosen.values))
    values = {**chosen.values, **merged.values}
    layers = {**chosen.origins, **merged.origins}
    for name, value in values.items():
        if layers[name] is Layer.FORM and below.values.get(name) == value:
            layers[name] = below.origins[name]
        elif layers[name] is Layer.FORM and own.get(name) == value:
            layers[name] = Layer.PROJECT
    rows = [
        (TITLES[name], _shown(value), LAYER_TITLES[layers[name]]) for name, value in values.items() if _shown(value)
    ]
    return templates.render("create/origins.html", rows=rows)


def _shown(value: object) -> str:
    match value:
        case float():
            return f"{value:g}"
        case (float(low), float(high)):
            return interval_text((low, high))
        case tuple():
            return ", ".join(f"{lora.name} {lora.strength}" for lora in value)
        case _:
            text = " ".join(str(value).split())
            return text if len(text) <= 60 else f"{text[:60]}…"


class ProjectEvents:
    """The buttons of one form's Project part."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout, links: PageLinks) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._form, self._project = layout, layout.form, links.project

    def wire(self) -> None:
        layout, inputs = self._layout, self._form.inputs | {self._project, self._layout.preset_title}
        outputs = [layout.project_report, self._project]
        for button, act in (
            (layout.save_setup, self.save_setup),
            (layout.copy_project, self.copy_project),
            (layout.archive, self.archive),
        ):
            button.click(act, inputs, outputs, **QUIET)
        saved = [layout.project_report, layout.preset_title, self._form["preset"]]
        layout.save_preset.click(self.save_preset, inputs, saved, **QUIET)
        self._project.change(lambda: "", None, layout.project_report, **QUIET)

    def save_setup(self, values: Values) -> Updates:
        """Save what the form holds as the project's setup. What it leaves blank stays as the project has it.

        Not so its style, quality and speed, which the form always shows: none of them there is none.
        """
        try:
            project, _ = self._studio.projects.ensure(values[self._project] or "")
            blank: dict[str, Any] = dict.fromkeys(STYLES)
            setup = setup_of(self._draft(values)).over(replace(project.setup, **blank))
            self._studio.projects.save(replace(project, setup=setup))
        except UserError as error:
            return self._said(str(error), "")
        return self._said(f"Saved as the setup of {_name(project)}.")

    def copy_project(self, values: Values) -> Updates:
        try:
            copy = self._studio.projects.duplicate(values[self._project] or "")
        except UserError as error:
            return self._said(str(error), "")
        return {**self._said(f"{copy.title} has the same setup, and no clips."), **self._open(copy.id)}

    def archive(self, values: Values) -> Updates:
        try:
            if self._studio.projects.label(values[self._project] or "") == "":
                raise ProjectError("No project is open; open the one to archive in the head of the page.")
            project = self._studio.projects.archive(values[self._project])
        except UserError as error:
            return self._said(str(error), "")
        again = f"{project.title} is archived; its clips stay. `projects edit` with --no-archived brings it back."
        return {**self._said(again), **self._open(DEFAULT)}

    def save_preset(self, values: Values) -> Updates:
        """Save the style and the settings of the form under a new name, and choose it."""
        title = (values[self._layout.preset_title] or "").strip()
        try:
            draft = self._draft(values)
            preset = self._studio.styles.save(title, shown(draft), values[self._project] or "")
        except UserError as error:
            return self._said(str(error), "")
        cards = look_choices(self._studio.presets.current())
        said = self._said(
            f"Saved as the style {preset.title}. Its card shows colours until the demo model has drawn its picture, "
            "which it does as soon as the queue is idle."
        )
        return {**said, self._layout.preset_title: "", self._form["preset"]: gr.Radio(cards, value=preset.id)}

    def _draft(self, values: Values) -> Draft:
        chosen = self._form.values(values)
        return read_draft(chosen, self._form.spec(chosen["model"]))

    def _open(self, project: str) -> Updates:
        return {self._project: gr.Dropdown(choices=project_choices(self._studio), value=project)}

    def _said(self, text: str, kind: str = "good") -> Updates:
        return {self._layout.project_report: notice(self._templates, text, kind)}


def setup_of(draft: Draft) -> Setup:
    """What a form holds as a project's setup. Its negative prompt takes the place of others, as it does in the form."""
    names = [name for name in vars(Setup()) if name != "replaces_negative_prompt"]
    values = {name: getattr(draft, name) for name in names}
    return Setup(**values, replaces_negative_prompt=draft.negative_prompt is not None)


def _name(project: Project) -> str:
    return "clips without a project" if project.id == DEFAULT else project.title
