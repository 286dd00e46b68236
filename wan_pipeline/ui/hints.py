"""What a form shows of the chosen model and style: their settings in empty fields, the model's sizes and lengths."""

from __future__ import annotations

from typing import Any

import gradio as gr

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.speeds import Speed
from wan_pipeline.ui.field import Values
from wan_pipeline.ui.fields import length_bounds, model_choices, size_choices, speed_choices
from wan_pipeline.ui.form import Form

HINTED = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "guidance_2": "guidance_scale_2",
    "flow_shift": "flow_shift",
    "fps": "fps",
}
"""Number fields that may stay empty, and the setting of speed, preset or model that then holds."""


def placeholders(spec: ModelSpec, preset: Preset | None, speed: Speed | None = None) -> dict[str, str]:
    """By field name, what holds when the field stays empty."""
    sources = [source for source in (speed, preset, spec) if source]
    whole = {
        field: next((value for source in sources if (value := getattr(source, setting, None)) is not None), None)
        for field, setting in HINTED.items()
    }
    return {field: "" if value is None else f"{value:g}" for field, value in whole.items()}


def reshape(form: Form, spec: ModelSpec, values: Values) -> dict[Any, Any]:
    """Sizes, lengths and parts of another model; of what was chosen, the nearest that the new model has is kept."""
    sizes = size_choices(spec, form.choices.mode)
    kept = values["size"] if values["size"] in dict(sizes).values() else sizes[0][1]
    low, high = length_bounds(spec)
    length = min(max(values["seconds"], low), high)
    speeds = speed_choices(form.choices, spec)
    speed = values.get("speed") if values.get("speed") in dict(speeds).values() else ""
    return {
        form["speed"]: gr.Dropdown(choices=speeds, value=speed, visible=len(speeds) > 1),
        form["size"]: gr.Radio(choices=sizes, value=kept),
        form["seconds"]: gr.Slider(minimum=low, maximum=high, value=length),
        **form.fit_parts(spec),
    }


def fill(form: Form, draft: Draft) -> dict[Any, Any]:
    """The whole form as the draft has it. Gradio silently refuses values that a component does not offer."""
    values = form.show(draft)
    shown = {name: values[component] for name, component in form.components.items()}
    spec, offered = form.spec(draft.model), form.choices.offer()
    models = offered if spec in offered else (*offered, spec)  # if it is not here, the studio says so
    model = gr.Dropdown(choices=model_choices(models), value=spec.id)
    return {**values, **reshape(form, spec, shown), form["model"]: model}
