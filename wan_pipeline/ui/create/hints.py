"""What the form shows of the chosen model, style, quality and speed: its choices, bounds and placeholders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import gradio as gr

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.layers import NO_LAYERS, Layer, Layers, shown
from wan_pipeline.requests.presets import Preset, PresetKind
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolve import merge_settings
from wan_pipeline.requests.sampling.speeds import Speed
from wan_pipeline.ui.common.events import Updates
from wan_pipeline.ui.common.names import look_choices, quality_choices
from wan_pipeline.ui.create.fields.field import FieldValues
from wan_pipeline.ui.create.fields.size import size_choices
from wan_pipeline.ui.create.fields.table import DEFAULT_PRESET, model_choices, speed_choices
from wan_pipeline.ui.create.form import Form

HINTED = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "guidance_2": "guidance_scale_2",
    "flow_shift": "flow_shift",
    "fps": "fps",
}
"""Number fields that may stay blank, and the setting that then holds."""
WORDS = ("prompt_before", "prompt_after")
"""Fields that show the project's words while they are blank."""
OF_PROJECT = (Layer.PROJECT, Layer.SHOT)


def placeholders(
    spec: ModelSpec,
    preset: Preset | None,
    speed: Speed | None = None,
    quality: Preset | None = None,
    layers: Layers = NO_LAYERS,
) -> dict[str, str]:
    """The value that holds while a field is blank, by name of the field; and that it is the project's, if it is."""
    merged = merge_settings(shown(Draft()), spec, preset, speed=speed, quality=quality, layers=layers)
    values = {name: f"{merged.values[name]:g}" for name in HINTED.values() if name in merged.values}
    own = {name: f"{value} (project)" for name, value in values.items() if merged.origins[name] in OF_PROJECT}
    return {field: (values | own).get(setting, "") for field, setting in HINTED.items()}


def word_hints(layers: Layers) -> dict[str, str]:
    """The project's words, which hold while their fields are blank."""
    return {name: getattr(layers.project, name) or "" for name in WORDS}


def fit_to_model(form: Form, spec: ModelSpec, values: FieldValues) -> Updates:
    """The sizes, lengths, speeds and parts of a model. What was chosen stays chosen if the model has it."""
    sizes, speeds = size_choices(spec, form.choices.mode), speed_choices(form.choices, spec)
    size = values["size"] if values["size"] in dict(sizes).values() else sizes[0][1]
    speed = values.get("speed") if values.get("speed") in dict(speeds).values() else ""
    low, high = spec.length_bounds
    return {
        form["speed"]: gr.Dropdown(choices=speeds, value=speed, visible=len(speeds) > 1),
        form["size"]: gr.Radio(choices=sizes, value=size),
        form["seconds"]: gr.Slider(minimum=low, maximum=high, value=min(max(values["seconds"], low), high)),
        **form.show_parts(spec),
    }


def show_styles(form: Form, chosen: FieldValues) -> Updates:
    """The style and the quality as chosen, among those that are there now. One that is gone counts as none."""
    presets, updates = form.choices.presets, {}
    for name, choices, none in (("preset", look_choices(presets), None), ("quality", quality_choices(presets), "")):
        value = chosen[name] if chosen[name] in dict(choices).values() else none
        updates[form[name]] = gr.Radio(choices, value=value)
    return updates


def fill(form: Form, draft: Draft) -> Updates:
    """The whole form as the draft has it. A component refuses values that it does not offer, so it offers them first.

    Raises ModelError for a model that is not known here; one that is known and not installed is offered all the same,
    and submitting says what to do.
    """
    updates = form.show(_by_kind(draft, form.choices.presets))
    spec, offered = form.spec(draft.model), form.choices.offered_models()
    models = offered if spec in offered else (*offered, spec)
    model = gr.Dropdown(choices=model_choices(models), value=spec.id)
    values = form.values(updates)
    return {**updates, **show_styles(form, values), **fit_to_model(form, spec, values), form["model"]: model}


def _by_kind(draft: Draft, presets: Mapping[str, Preset]) -> Draft:
    """A draft whose preset is a quality, as any may be, with that in its own place."""
    preset = presets.get(draft.preset or "")
    if preset is None or preset.kind is not PresetKind.QUALITY:
        return draft
    look = DEFAULT_PRESET if DEFAULT_PRESET in presets else None
    return replace(draft, preset=look, quality=draft.quality or preset.id)
