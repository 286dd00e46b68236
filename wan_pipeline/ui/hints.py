"""What a form shows of the chosen model and style: their settings in empty fields, the model's sizes and lengths."""

from __future__ import annotations

from typing import Any

import gradio as gr

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.presets import Preset
from wan_pipeline.request import Draft
from wan_pipeline.ui.fields import Values, length_bounds, size_choices, spec_of
from wan_pipeline.ui.form import Form

HINTED = {"steps": "num_inference_steps", "guidance": "guidance_scale", "flow_shift": "flow_shift", "fps": "fps"}
"""Number fields that may stay empty, and the setting of preset or model that then holds."""


def placeholders(spec: ModelSpec, preset: Preset | None) -> dict[str, str]:
    """By field name, what holds when the field stays empty."""
    chosen = {field: getattr(preset, setting, None) for field, setting in HINTED.items()}
    return {field: f"{getattr(spec, HINTED[field]) if value is None else value:g}" for field, value in chosen.items()}


def reshape(form: Form, spec: ModelSpec, values: Values) -> dict[Any, Any]:
    """Sizes and lengths of another model; of what was chosen, the nearest that the new model has is kept."""
    sizes = size_choices(spec, form.choices.mode)
    kept = values["size"] if values["size"] in dict(sizes).values() else sizes[0][1]
    low, high = length_bounds(spec)
    length = min(max(values["seconds"], low), high)
    return {
        form["size"]: gr.Radio(choices=sizes, value=kept),
        form["seconds"]: gr.Slider(minimum=low, maximum=high, value=length),
    }


def fill(form: Form, draft: Draft) -> dict[Any, Any]:
    """The whole form as the draft has it. Gradio silently refuses values that a component does not offer."""
    values = form.show(draft)
    shown = {name: values[component] for name, component in form.components.items()}
    return {**values, **reshape(form, spec_of(draft.model), shown)}
