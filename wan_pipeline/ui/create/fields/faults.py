"""The field of the form at which the message of an error stands."""

from __future__ import annotations

from wan_pipeline.errors import ImageError, LoraError, ModelError, PresetError, RequestError, UserError
from wan_pipeline.ui.create.fields.field import FieldValues
from wan_pipeline.ui.create.fields.loras import LORA_ROWS
from wan_pipeline.ui.create.fields.size import CUSTOM

_FIELDS = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "guidance_scale_2": "guidance_2",
    "num_frames": "seconds",
    "image_crop": "image",
}
"""Fields whose names differ from those of the settings."""


def field_at_fault(error: UserError, values: FieldValues) -> str:
    """The name of the field, which a form need not have; empty for an error that no field can put right."""
    match error:
        case RequestError(field="loras") | LoraError():
            return _lora_row(str(error), values)
        case RequestError(field="width" | "height") if values["size"] != CUSTOM:
            return "size"
        case RequestError(field=field) | ImageError(field=field):
            return _FIELDS.get(field, field)
        case ModelError():
            return "model"
        case PresetError():
            return "preset"
        case _:
            return ""


def _lora_row(sentence: str, values: FieldValues) -> str:
    """The row whose file the sentence names, else the first."""
    named = (file for file, _ in LORA_ROWS if values[file] and f"'{values[file]}'" in sentence)
    return next(named, LORA_ROWS[0][0])
