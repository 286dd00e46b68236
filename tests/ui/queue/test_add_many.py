"""The panel that adds many clips, on a real studio without a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.support.pages import TEMPLATES, page_links
from wan_pipeline.projects.project import FinalProfile, Profile
from wan_pipeline.studio import Studio
from wan_pipeline.ui.queue.add_many import AddManyEvents
from wan_pipeline.ui.queue.layout import QueueLayout


class Panel:
    """The panel and the forms of Create as they are when the page opens."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            layout = QueueLayout(studio.presets, TEMPLATES)
            links = page_links(page, studio)
        self.layout, self.toast = layout.add_many, layout.toast
        self.events = AddManyEvents(studio, TEMPLATES, layout, links)
        self.project = links.project

    def values(self, **changes: Any) -> dict[Any, Any]:
        opened = {box: box.value for box in self.events.inputs}
        return {
            **opened,
            self.layout.file: "",
            **{getattr(self.layout, name): value for name, value in changes.items()},
        }


@pytest.fixture
def panel(studio: Studio) -> Panel:
    return Panel(studio)


@pytest.mark.soak
def test_every_prompt_in_every_style_with_every_seed(studio: Studio, panel: Panel) -> None:
    values = panel.values(prompts="a ball\n\na fish\n", presets=["noir", "pastel"], seeds="1-2")
    values[panel.project] = " Film "
    assert "8 clips, about" in panel.events.forecast(values)[panel.layout.estimate]
    added = panel.events.add(values)
    assert "8 clips added" in added[panel.toast]
    assert added[panel.layout.prompts] == ""
    jobs = studio.jobs.waiting(8)
    assert [(job.request.prompt, job.request.preset, job.request.seed) for job in jobs[:3]] == [
        ("a ball", "noir", 1),
        ("a ball", "noir", 2),
        ("a ball", "pastel", 1),
    ]
    assert {job.project for job in jobs} == {"Film"}


def test_what_cannot_be_added_is_said_and_nothing_is_queued(studio: Studio, panel: Panel) -> None:
    values = panel.values(prompts="a ball", seeds="seven")
    for handler in (panel.events.forecast, panel.events.add):
        assert "&#39;seven&#39; cannot be read" in handler(values)[panel.layout.estimate]
    assert studio.jobs.waiting(1) == []


def test_05_an_empty_box_queues_nothing(studio: Studio, panel: Panel) -> None:
    """The prompt of Create was once queued in its place."""
    values = panel.values(prompts=" \n")
    assert "There is no prompt to add yet" in panel.events.add(values)[panel.layout.estimate]
    assert studio.jobs.waiting(1) == []
    before = panel.events.forecast(values)[panel.layout.estimate]
    assert "Write one prompt on each line" in before and "lacking" not in before


def test_a_file_is_reported_before_it_is_added(studio: Studio, panel: Panel, tmp_path: Path) -> None:
    listed = tmp_path / "shots.csv"
    listed.write_text("prompt,steps\none,4\ntwo,many\n", encoding="utf-8")
    reported = panel.events.report_file(str(listed))
    assert "Row 3" in reported[panel.layout.report]
    assert reported[panel.layout.add_file].value == "Add the good 1 clip"
    assert studio.jobs.waiting(1) == []
    added = panel.events.add_file(panel.values(file=reported[panel.layout.file]))
    assert "1 clip added" in added[panel.toast]
    assert [job.request.prompt for job in studio.jobs.waiting(2)] == ["one"]


def test_a_profile_decides_model_size_and_steps(studio: Studio, panel: Panel, tmp_path: Path) -> None:
    project = studio.projects.ensure("Film")[0]
    assert panel.events.offer_profiles(project.id, "").visible is False
    draft = Profile(width=160, height=160, num_inference_steps=2)
    studio.projects.save(replace(project, draft=draft, final=FinalProfile(num_inference_steps=5)))
    assert [value for _, value in panel.events.offer_profiles(project.id, "").choices] == ["", "draft", "final"]
    listed = tmp_path / "shots.csv"
    listed.write_text("prompt,profile\none,\ntwo,Final\nthree,rough\n", encoding="utf-8")
    reported = panel.events.report_file(str(listed), project.id, "draft")
    assert "Its profile is &#39;rough&#39;; write draft or final" in reported[panel.layout.report]
    values = panel.values(prompts="a ball", profile="draft", file=str(listed)) | {panel.project: project.id}
    added = panel.events.add(values)
    assert "1 clip added" in added.get(panel.toast, ""), list(added.values())
    panel.events.add_file(values)
    jobs = {job.request.prompt: job.request for job in studio.jobs.waiting(9)}
    assert (jobs["a ball"].width, jobs["a ball"].num_inference_steps) == (160, 2)
    assert (jobs["one"].width, jobs["one"].num_inference_steps) == (160, 2)
    assert jobs["two"].num_inference_steps == 5


def test_a_file_that_is_no_list_cannot_be_added(panel: Panel, tmp_path: Path) -> None:
    listed = tmp_path / "no.csv"
    listed.write_text("colour\nred\n", encoding="utf-8")
    reported = panel.events.report_file(str(listed))
    assert "unknown column" in reported[panel.layout.report]
    assert reported[panel.layout.file] == ""


def test_15_a_reported_file_is_not_checked_again(
    studio: Studio, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "shots.csv"
    listed.write_text("prompt,camera\none,dolly\n", encoding="utf-8")
    reported = panel.events.report_file(str(listed))
    assert "kept as the clip&#39;s note" in reported[panel.layout.report]
    listed.unlink()
    monkeypatch.setattr(studio.models, "find", lambda model: pytest.fail(f"{model} is checked again"))
    assert "1 clip added" in panel.events.add_file(panel.values(file=str(listed)))[panel.toast]
    assert studio.jobs.waiting(1)[0].note == "camera: dolly"
    assert list(studio.settings.cache.glob("import-*")) == []
