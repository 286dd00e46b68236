"""Prompt, style and quality go along from one form to the other when a person opens its tab."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import gradio as gr

from wan_pipeline.models.spec import Mode
from wan_pipeline.ui.common.events import QUIET, Updates, Values
from wan_pipeline.ui.create.examples import is_example
from wan_pipeline.ui.create.fields.table import DEFAULT_PRESET
from wan_pipeline.ui.create.hints import show_styles
from wan_pipeline.ui.create.layout import FormLayout

CARRIED = ("prompt", "preset", "quality")
"""Fields that go along."""


class CarriedBoxes:
    """What the two forms had in common last: in a form that still has it, it may be replaced."""

    def __init__(self) -> None:
        self.prompt = gr.Textbox(visible="hidden", container=False)
        self.preset = gr.Textbox(DEFAULT_PRESET, visible="hidden", container=False)
        self.quality = gr.Textbox(visible="hidden", container=False)


def wire_carrying(forms: Mapping[Mode, FormLayout], carried: CarriedBoxes) -> None:
    text, image = forms[Mode.TEXT_TO_VIDEO], forms[Mode.IMAGE_TO_VIDEO]
    for source, target in ((text, image), (image, text)):
        outputs = [*(target.form[name] for name in CARRIED), *vars(carried).values(), target.replaced]
        inputs = {*(source.form[name] for name in CARRIED), target.filled, *outputs}
        target.tab.select(partial(carry, source, target, carried), inputs, outputs, **QUIET)


def carry(source: FormLayout, target: FormLayout, carried: CarriedBoxes, values: Values) -> Updates:
    """Take prompt, style and quality of the form that was left into the form that is opened.

    A person who changes to the other tab goes on with the same clip, and expects what they typed there; what they had
    typed here before, or taken from a clip, they expect to find again. So

    - a typed prompt replaces an empty prompt, an example, and what was carried over before;
    - a style or quality replaces the one that a form starts with, and what was carried over before;
    - nothing replaces what a clip or a job has filled in.
    """
    mine, there = source.form, target.form
    updates: Updates = {carried.prompt: gr.skip()}
    is_own = bool(values[target.filled])
    prompt = values[mine["prompt"]] or ""
    if not is_own and _replaces(prompt, values[there["prompt"]] or "", values[carried.prompt]):
        updates |= {there["prompt"]: prompt, carried.prompt: prompt, target.replaced: ""}
    styles = show_styles(there, {name: values[mine[name]] for name in ("preset", "quality")})
    for name, box, first in (("preset", carried.preset, DEFAULT_PRESET), ("quality", carried.quality, "")):
        if not is_own and values[there[name]] in (first, values[box] or None):
            updates |= {there[name]: styles[there[name]], box: values[mine[name]] or ""}
    return updates


def _replaces(prompt: str, there: str, carried: str) -> bool:
    is_typed = bool(prompt.strip()) and not is_example(prompt)
    return is_typed and (not there.strip() or is_example(there) or there == carried)
