"""The head of the page."""

from __future__ import annotations

import gradio as gr
import pytest

from tests.support.pages import TEMPLATES
from tests.support.requests import make_request
from wan_pipeline.projects.project import DEFAULT
from wan_pipeline.studio import Studio
from wan_pipeline.ui.head import PageHead


def test_each_look_says_what_holds_now(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    with gr.Blocks():
        head = PageHead(studio, TEMPLATES)
    assert head.show_notices() == {head.banner: ""} and head.show_badge() == {head.badge: ""}
    studio.queue.submit(make_request())
    studio.queue.pause_queue()
    monkeypatch.setattr(Studio, "is_viewer", True)
    assert "data-looks-on" in head.show_notices()[head.banner], "by which its clock ticks"
    assert head.show_badge() == {head.badge: "1 paused"}


def test_a_project_is_opened_by_its_id_however_its_name_was_typed(studio: Studio) -> None:
    with gr.Blocks():
        head = PageHead(studio, TEMPLATES)
    project = studio.projects.ensure("AC/DC")[0]
    assert project.id != "AC/DC"
    for typed in ("AC/DC", "ac/dc", project.id.lower()):
        assert head.open_project(typed)[head.project].value == project.id
        assert head.choose_project(typed)[head.project] == project.id
    assert head.open_project("gone")[head.project].value == DEFAULT
    assert head.choose_project("New") == {head.project: gr.skip()}
