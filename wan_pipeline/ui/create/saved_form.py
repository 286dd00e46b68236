"""What was typed into a form is saved in the browser, so that it survives a reload of the page."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_pipeline.errors import RequestError
from wan_pipeline.requests.layers import Layers, Setup, chosen_by
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Updates
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.create.fields.files import FILE_FIELDS
from wan_pipeline.ui.create.fields.framing import FRAMING_FIELDS
from wan_pipeline.ui.create.fields.loras import read_rows
from wan_pipeline.ui.create.fields.table import DEFAULT_PRESET, model_choices
from wan_pipeline.ui.create.form import Form
from wan_pipeline.ui.create.hints import fill, fit_to_model, show_styles


def save_in_browser(links: PageLinks, form: Form, studio: Studio) -> None:
    """Save all fields but the files whenever one changes, without the server, for each project by itself.

    They are restored when the page is opened, and when another project is.
    """
    fields = _saved_fields(form)
    mode, names = json.dumps(form.choices.mode.value), json.dumps(list(fields))
    changes = [component.change for component in fields.values()]
    save = f"(...values) => wanStudio.saveForm({mode}, {names}, values)"
    gr.on(changes, None, list(fields.values()), None, js=save)
    saved = gr.Textbox(visible="hidden", container=False)
    outputs = [*form.components.values(), *form.parts.values()]
    given, opened = [links.project, saved], partial(open_project, studio, form)
    links.page.load(opened, given, outputs, js=f"() => [wanStudio.project(), wanStudio.savedForm({mode})]", **QUIET)
    switched = f"project => [project, wanStudio.switchForm({mode}, project)]"
    links.project.change(opened, given, outputs, js=switched, **QUIET)


def open_project(studio: Studio, form: Form, project: str | None, saved: str | None) -> Updates:
    """The form of a project as this browser left it, else as the project's setup has it.

    `saved` is "same" where the project was open already.
    """
    unchanged: Updates = {form["prompt"]: gr.skip()}  # for Gradio an empty dict is a missing answer
    if saved == "same":
        return unchanged
    if (restored := restore(form, saved)) != unchanged:
        return restored
    layers = studio.projects.layers(project or "")
    return (
        fill(form, draft_of_setup(form, layers.project, _last_prompt(studio, project or ""))) if layers else unchanged
    )


def draft_of_setup(form: Form, setup: Setup, prompt: str) -> Draft:
    """What a project's setup chooses, in the fields of the form that are never blank; the others show it as hints."""
    chosen = chosen_by(Draft(), Layers(setup))
    offered = form.choices.offered_models()
    model = next((spec.id for spec in offered if spec.id == chosen.model), offered[0].id)
    return replace(
        chosen,
        prompt=prompt,
        model=model,
        preset=chosen.preset or DEFAULT_PRESET,
        width=setup.width,
        height=setup.height,
        num_frames=setup.num_frames,
        fps=setup.fps,
        quantization=setup.quantization,
        scheduler=setup.scheduler,
        cache=setup.cache,
        cache_amount=setup.cache_amount,
        early_end=setup.early_end,
        prompt_before=None,
        prompt_after=None,
    )


def _last_prompt(studio: Studio, project: str) -> str:
    """The prompt of the project's newest clip."""
    label = studio.projects.label(project)
    newest = studio.jobs.newest_of_project(label)
    return newest.request.prompt if newest else ""


def restore(form: Form, text: str | None) -> Updates:
    """The saved fields. Nothing, if they are not all there or do not make sense here and now."""
    fields, models = _saved_fields(form), form.choices.offered_models()
    values = _values(text or "")
    if set(values) != set(fields) or not _make_sense(values, {spec.id for spec in models}):
        return {fields["prompt"]: gr.skip()}  # for Gradio an empty dict is a missing answer
    updates = {fields[name]: value for name, value in values.items()}
    model = gr.Dropdown(choices=model_choices(models), value=values["model"])
    fitted = fit_to_model(form, form.spec(values["model"]), values)
    return {**updates, **show_styles(form, values), **fitted, fields["model"]: model}


def _saved_fields(form: Form) -> dict[str, Component]:
    """The fields to save: not the files, nor how pictures are fitted."""
    left_out = {**FILE_FIELDS, **FRAMING_FIELDS}
    return {name: component for name, component in form.components.items() if name not in left_out}


def _values(text: str) -> dict[str, Any]:
    """Values by name of the field; empty if it is not a saved form. A browser may send anything."""
    try:
        saved = parse(dict[str, str | float | None], parse_json(text))
    except OutsideDataError:
        return {}
    return {name: "" if value is None else value for name, value in saved.items()}


def _make_sense(values: dict[str, Any], models: set[str]) -> bool:
    texts = (value for name, value in values.items() if name != "seconds")
    return (
        isinstance(values["seconds"], float)
        and all(isinstance(text, str) for text in texts)
        and values["model"] in models
        and _are_rows(values["loras"])
    )


def _are_rows(text: str) -> bool:
    try:
        read_rows(text)
    except RequestError:
        return False
    return True
