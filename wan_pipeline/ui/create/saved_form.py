"""What was typed into a form is saved in the browser, so that it survives a reload of the page."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.ui.common.events import QUIET, Updates
from wan_pipeline.ui.common.names import look_choices, quality_choices
from wan_pipeline.ui.create.fields.files import FILE_FIELDS
from wan_pipeline.ui.create.fields.framing import FRAMING_FIELDS
from wan_pipeline.ui.create.fields.table import model_choices
from wan_pipeline.ui.create.form import Form
from wan_pipeline.ui.create.hints import fit_to_model


def save_in_browser(page: gr.Blocks, form: Form) -> None:
    """Save all fields but the files whenever one changes, without the server; restore them when the page is opened."""
    fields = _saved_fields(form)
    mode, names = json.dumps(form.choices.mode.value), json.dumps(list(fields))
    changes = [component.change for component in fields.values()]
    save = f"(...values) => wanStudio.saveForm({mode}, {names}, values)"
    gr.on(changes, None, list(fields.values()), None, js=save)
    saved = gr.Textbox(visible="hidden", container=False)
    outputs = [*fields.values(), *form.parts.values()]
    page.load(partial(restore, form), saved, outputs, js=f"() => wanStudio.savedForm({mode})", **QUIET)


def restore(form: Form, text: str | None) -> Updates:
    """The saved fields. Nothing, if they are not all there or do not make sense here and now."""
    fields, models = _saved_fields(form), form.choices.offered_models()
    values = _values(text or "")
    if set(values) != set(fields) or not _make_sense(values, {spec.id for spec in models}):
        return {fields["prompt"]: gr.skip()}  # for Gradio an empty dict is a missing answer
    for name, offered in (("preset", look_choices), ("quality", quality_choices)):
        choices = dict(offered(form.choices.presets)).values()
        if values[name] not in choices:
            values[name] = "" if "" in choices else None
    updates = {fields[name]: value for name, value in values.items()}
    model = gr.Dropdown(choices=model_choices(models), value=values["model"])
    return {**updates, fields["model"]: model, **fit_to_model(form, form.spec(values["model"]), values)}


def _saved_fields(form: Form) -> dict[str, Component]:
    """Not the files, nor how the pictures among them are fitted."""
    left_out = {**FILE_FIELDS, **FRAMING_FIELDS}
    return {name: component for name, component in form.components.items() if name not in left_out}


def _values(text: str) -> dict[str, Any]:
    """Values by name of the field; empty for what is no saved form. A browser may send anything."""
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
    )
