"""The LoRAs of the clip: a few rows of a file and its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, parse_number

MAX_LORAS = 4
LORA_ROWS = tuple((f"lora_{number}", f"lora_weight_{number}") for number in range(MAX_LORAS))
"""Names of the two fields of each row: file, weight."""
NO_LORA = ""


def lora_choices(names: Sequence[str]) -> list[tuple[str, str]]:
    """(label, value) of each LoRA file, no file first."""
    return [("None", NO_LORA), *((name, name) for name in names)]


def _row(number: int) -> dict[str, Field]:
    """The two fields of a row; the first one reads both."""
    name, weight = LORA_ROWS[number]

    def build(choices: Choices) -> gr.Dropdown:
        return gr.Dropdown(
            lora_choices(choices.loras),
            value=NO_LORA,
            label=f"LoRA {number + 1}",
            scale=3,
            allow_custom_value=True,  # for a file that is gone: the studio says so, Gradio would do nothing
        )

    def read(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
        if not values[name]:
            return {}
        strength = parse_number("loras", f"Weight of LoRA '{values[name]}'", values[weight], float)
        return {"loras": (LoraChoice(values[name], 1.0 if strength is None else strength),)}

    def chosen(draft: Draft) -> LoraChoice:
        loras = draft.loras or ()
        return loras[number] if number < len(loras) else LoraChoice(NO_LORA)

    return {
        name: Field(build, read, lambda draft, spec: chosen(draft).name),
        weight: Field(
            lambda choices: gr.Textbox(
                "1", label=f"Weight {number + 1}", placeholder="1", max_lines=1, min_width=90, scale=1
            ),
            lambda values, spec: {},
            lambda draft, spec: f"{chosen(draft).weight:.10g}",
            is_timed=False,
        ),
    }


LORA_FIELDS = {name: field for number in range(MAX_LORAS) for name, field in _row(number).items()}
