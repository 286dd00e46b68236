"""A form that the browser has saved."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from tests.ui.create.forms import choices, draw
from wan_pipeline.models.registry import DEMO
from wan_pipeline.models.spec import Mode
from wan_pipeline.ui.create.fields.files import FILE_FIELDS
from wan_pipeline.ui.create.saved_form import restore


def test_what_the_browser_saved_is_restored_if_it_makes_sense() -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    saved = {name: None for name in form.components if name not in FILE_FIELDS}
    saved |= {"seconds": 1.5, "model": "demo", "preset": "noir", "prompt": "saved", "size": "320x192"}
    given = restore(form, json.dumps(saved))
    assert (given[form["prompt"]], given[form["preset"]].value, given[form["seed"]]) == ("saved", "noir", "")
    assert restore(form, json.dumps(saved | {"preset": "gone"}))[form["preset"]].value is None
    assert restore(form, json.dumps(saved | {"seconds": 2}))[form["seconds"]].value == 2


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"model": "gone"},
            {"model": None},
            {"seconds": "x"},
            {"seconds": True},
            {"seconds": None},
            {"seconds": 1e400},
        ),
        *({"prompt": 3.0}, {"prompt": ["x"]}, {"prompt": "\ud800"}, {"unknown": "x"}, {"loras": "[3]"}),
    ],
    ids=str,
)
def test_a_saved_form_that_makes_no_sense_is_not_restored(change: dict[str, Any]) -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    saved = {name: None for name in form.components if name not in FILE_FIELDS}
    saved |= {"seconds": 1.5, "model": "demo", "preset": "noir", "size": "320x192"}
    assert restore(form, json.dumps(saved | change)) == {form["prompt"]: gr.skip()}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 10_000])
def test_what_is_no_saved_form_is_not_restored(text: str) -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    assert restore(form, text) == {form["prompt"]: gr.skip()}
