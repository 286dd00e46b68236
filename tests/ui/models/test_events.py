"""What happens in the Models room: who may change what, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import huggingface_hub.constants
import pytest

from tests.support.pages import TEMPLATES
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.models.events import ModelsEvents, Question, repository_of
from wan_pipeline.ui.models.layout import ModelsLayout


@pytest.fixture
def room(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelsEvents:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with gr.Blocks():
        layout = ModelsLayout()
    filler = SimpleNamespace(choose=lambda spec: {"chosen": spec.id})
    return ModelsEvents(studio, TEMPLATES, Names({}, {}), layout, filler)


def clicked(act: str, model_id: str) -> Any:
    return SimpleNamespace(act=act, clip=model_id, text="")


@pytest.mark.parametrize("model_id", ["nothing", "../../etc/passwd", ""])
def test_only_known_models_are_downloaded(room: ModelsEvents, settings: Settings, model_id: str) -> None:
    for act in ("fetch", "verify", "stop", "remove", "ask-remove", "ask", "use"):
        assert "There is no model" in str(room.act(clicked(act, model_id)))
    assert not (settings.cache / "fetches").exists()


def test_the_bundled_model_stays(room: ModelsEvents) -> None:
    assert "cannot be removed" in str(room.act(clicked("remove", "demo")))


def test_nothing_is_drawn_anew_while_nothing_happens(room: ModelsEvents) -> None:
    shown = next(value for value in room.enter().values() if isinstance(value, dict))
    assert list(room.follow(shown).values()) == [json.dumps({})]


def test_a_question_is_answered_once(room: ModelsEvents) -> None:
    assert list(room.look_up(None).values()) == [""]
    assert None in room.look_up(Question("demo")).values()


@pytest.mark.parametrize(
    ("typed", "name"),
    [(" me/own ", "me/own"), ("https://hub.example/me/own/tree/main", "me/own"), ("", ""), ("own", "own")],
)
def test_a_repository_may_be_given_by_its_page(typed: str, name: str) -> None:
    assert repository_of(typed) == name
