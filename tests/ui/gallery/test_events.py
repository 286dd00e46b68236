"""The handlers of the Gallery, on a real studio with clips in its folder."""

from __future__ import annotations

import json
import re
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from tests.support.files.clips import put
from tests.support.pages import NAMES, TEMPLATES, Reader, page_links
from wan_pipeline.access.callers import Caller
from wan_pipeline.access.guard import CALLER
from wan_pipeline.access.roles import Role
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.jobs.background.exports import ExportChoice, ExportState, PageExport
from wan_pipeline.jobs.clip_works.work import ClipWork, WorkKind, WorkOrder, WorkState
from wan_pipeline.models.spec import Mode
from wan_pipeline.projects.project import Project
from wan_pipeline.requests.post_processing import PostProcessing
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.studio import Studio
from wan_pipeline.studio.derived import DerivedFiles
from wan_pipeline.ui.common.events import Click, Updates
from wan_pipeline.ui.common.parts.many_clips import ManyClips
from wan_pipeline.ui.gallery.events import GalleryEvents
from wan_pipeline.ui.gallery.layout import GalleryLayout, Selection

ELSEWHERE = gr.Request(Request({"type": "http", CALLER: Caller(Role.OWNER)}))
"""An owner who comes by a key from another computer."""


class Tab:
    """A browser tab that shows the gallery: it keeps what it has selected."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            self.layout = GalleryLayout()
            self.links = page_links(page, studio)
        self.events = GalleryEvents(studio, TEMPLATES, NAMES, self.layout, self.links)
        self.values: dict[Any, Any] = {box: box.value for box in self.layout.inputs | {self.links.project}}
        self.keep(self.events.enter(self.values))

    @property
    def selection(self) -> Selection:
        return self.values[self.layout.selection]

    def click(self, act: str, clip: str = "", text: str = "") -> Updates:
        event = gr.EventData(None, {"act": act, "clip": clip and f"job-{clip}", "text": text})
        return self.keep(self.events.act(self.values, event, ELSEWHERE))

    def keep(self, updates: Updates) -> Updates:
        self.values[self.layout.selection] = updates.get(self.layout.selection, self.selection)
        return updates


@pytest.fixture
def tab(studio: Studio) -> Tab:
    for hour, (name, preset) in enumerate((("a", None), ("b", None), ("c", "noir"))):
        words = f"clip {name}"
        put(studio.settings.clips, name, hour=hour, prompt=words, styled_prompt=words, seed=hour, preset=preset)
    return Tab(studio)


def test_what_is_in_the_folder_is_shown_and_offered_to_filter_by(tab: Tab) -> None:
    assert tab.selection.ids == ("job-c", "job-b", "job-a")
    entered = tab.events.enter(tab.values)
    assert entered[tab.layout.preset].choices == [("All styles", ""), ("Noir", "noir")]
    assert not entered[tab.layout.lora].visible
    assert "3 clips" in entered[tab.layout.count]
    found = tab.events.search({**tab.values, tab.layout.text: "clip b"})
    assert "1 clip<" in found[tab.layout.count]


def test_a_filter_whose_choice_is_gone_filters_nothing(tab: Tab, studio: Studio) -> None:
    put(studio.settings.clips, "old", hour=9, loras=(LoraChoice("ink"),))
    tab.keep(tab.events.enter(tab.values))
    tab.values[tab.layout.lora] = "ink"
    for path in studio.settings.clips.glob("old*"):
        path.unlink()
    left = tab.events.enter(tab.values)
    assert left[tab.layout.lora].value == "" and "data-clip" in left[tab.layout.grid]


def test_up_to_nine_clips_are_compared_and_many_are_changed_at_once(tab: Tab, studio: Studio) -> None:
    for hour, name in enumerate("defghij", 3):
        put(studio.settings.clips, name, hour=hour, prompt=f"clip {name}", seed=hour)
    studio.gallery.rescan()
    tab.keep(tab.events.enter(tab.values))
    tab.click("pick-page")
    bar = tab.click("pick", "a")[tab.layout.picks]
    assert len(tab.selection.picked) == 9 and "9 clips chosen" in bar
    over = Reader(tab.click("compare")[tab.layout.over])
    assert over.tags.count("video") == 9 and {"rate-1", "rate-5", "reject-take"} <= over.acts
    tab.click("unpick")
    for name in "ab":
        tab.click("pick", name)
    tab.click("many-rate", text="3")
    assert [studio.gallery.clip(f"job-{name}").rating for name in "abc"] == [3, 3, 0]
    studio.projects.create(Project("Film", "Film"))
    told = tab.click("many-move", text="Film")[tab.layout.toast]
    moved = studio.gallery.clip("job-a")
    assert moved.project == "Film" and load_receipt(moved.path.with_suffix(".json")).project == "Film"
    assert "2 clips moved to Film<" in told
    assert "2 clips are in Film already" in tab.click("many-move", text="Film")[tab.layout.toast]
    undone = tab.click("undo", text=" ".join(re.findall('moved:[^ "]*', told)))
    assert "2 clips moved back" in undone[tab.layout.toast] and studio.gallery.clip("job-b").project == ""
    assert "nothing that can be undone" in tab.click("undo", text="moved:x:y")[tab.layout.toast]
    assert "2 clips added to the queue" in tab.click("many-again")[tab.layout.toast]
    assert "download" in tab.click("many-zip")[tab.layout.toast]
    assert not list(studio.settings.cache.rglob("*.zip")), "it is written once, where the browser gets it"
    deleted = tab.click("many-bin")
    assert (tab.selection.picked, deleted[tab.layout.picks]) == ((), "") and studio.gallery.clip("job-b").is_binned
    tab.click("undo", text="job-a job-b")
    assert not studio.gallery.clip("job-b").is_binned


def test_clips_that_are_gone_are_not_said_to_be_in_the_project(tab: Tab, studio: Studio) -> None:
    studio.projects.create(Project("Film", "Film"))

    def told(*ids: str) -> str:
        return ManyClips(studio).actions["many-move"](ids, Click("many-move", "", "Film")).text

    assert told("job-a", "job-deleted") == "1 clip moved to Film"
    assert told("job-a", "job-deleted") == "1 clip is in Film already"
    assert told("job-a", "job-b") == "1 clip moved to Film, 1 already there"


def test_a_compared_clip_is_rated_and_rejected_but_picked_only_for_a_shot(tab: Tab, studio: Studio) -> None:
    tab.click("rate-4", "a")
    assert studio.gallery.clip("job-a").rating == 4
    tab.click("rate-0", "a")
    tab.click("reject-take", "a")
    clip = studio.gallery.clip("job-a")
    assert (clip.rating, clip.is_rejected) == (0, True)
    tab.click("reject-take", "a")
    assert not studio.gallery.clip("job-a").is_rejected
    assert "is not a take of a shot" in tab.click("pick-take", "a")[tab.layout.toast]


def test_a_clip_is_picked_and_dropped(tab: Tab) -> None:
    for name in "bc":
        tab.click("pick", name)
    tab.click("pick", "b")
    assert tab.selection.picked == ("job-c",)
    assert tab.click("unpick")[tab.layout.picks] == ""


def test_the_sheet_goes_from_clip_to_clip_and_stops_at_the_ends(tab: Tab) -> None:
    assert "clip c" in tab.click("open", "c")[tab.layout.over]
    assert [tab.click(act) and tab.selection.open for act in ("previous", "next", "next", "next")] == [
        *("job-c", "job-b", "job-a", "job-a")
    ]
    assert tab.click("close")[tab.layout.over] == ""
    assert tab.selection.open == ""


def test_a_binned_clip_comes_back_by_undo(tab: Tab) -> None:
    tab.click("pick", "b")
    tab.click("open", "b")
    binned = tab.click("bin", "b")
    assert (binned[tab.layout.over], tab.selection.open, tab.selection.picked) == ("", "", ())
    assert "undo" in Reader(binned[tab.layout.toast]).acts
    assert tab.selection.ids == ("job-c", "job-a")
    tab.click("undo", text="job-b")
    assert tab.selection.ids == ("job-c", "job-b", "job-a")


def test_an_error_is_said_where_the_person_looks(tab: Tab) -> None:
    assert "no clip" in tab.click("star", "gone")[tab.layout.toast]
    tab.click("open", "a")
    assert "no clip" in tab.click("star", "gone")[tab.layout.problem]


def arrive(studio: Studio, *names: str) -> None:
    for name in names:
        put(studio.settings.clips, name, hour=9)
    studio.gallery.rescan()


def test_06_clips_that_arrive_are_announced_and_no_tile_moves_until_they_are_asked_for(
    tab: Tab, studio: Studio
) -> None:
    """A star, a pick or a note drew the grid anew, with the new clips under the pointer."""
    assert tab.events.look_for_new(tab.values)[tab.layout.arrivals] == ""
    arrive(studio, "d", "e", "f")
    assert "3 new" in Reader(tab.events.look_for_new(tab.values)[tab.layout.arrivals]).text
    for act in ("star", "pick"):
        drawn = tab.click(act, "b")
        assert tab.selection.ids == ("job-c", "job-b", "job-a")
        assert "3 new" in Reader(drawn[tab.layout.arrivals]).text
    shown = tab.click("show-new")
    assert len(tab.selection.ids) == 6 and tab.selection.ids[3:] == ("job-c", "job-b", "job-a")
    assert (shown[tab.layout.arrivals], tab.selection.picked) == ("", ("job-b",))


def test_06_a_pick_that_was_deleted_elsewhere_is_dropped(tab: Tab, studio: Studio) -> None:
    tab.click("pick", "a")
    studio.gallery.bin(["job-a"])
    studio.gallery.empty_bin()
    assert "1 clip chosen" in tab.click("pick", "b")[tab.layout.picks]
    assert tab.selection.picked == ("job-b",)


def test_06_a_share_copy_and_a_verification_are_told_in_places_of_their_own(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One overwrote the other, and the link to the copy was gone."""
    monkeypatch.setattr(DerivedFiles, "share_copy", lambda self, clip: clip)
    tab.click("open", "a")
    shared = tab.click("share", "a")
    assert "being downloaded" in shared[tab.layout.shared] and tab.layout.report not in shared
    assert tab.layout.shared not in tab.events.follow(tab.values)


def test_an_export_is_begun_and_followed(tab: Tab, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, ExportChoice]] = []
    states = [PageExport(ExportState.WAITING, "prores"), PageExport(ExportState.DONE, "prores", file="/x/a.mov")]
    monkeypatch.setattr(studio.exports, "start", lambda clip, form, choice: begun.append((form.name, choice)))
    monkeypatch.setattr(studio.exports, "of", lambda clip: states[0] if begun else None)
    opened = tab.click("open", "a")
    assert opened[tab.layout.exported] == "" and "ProRes 422 HQ" in opened[tab.layout.over]
    told = tab.click(
        "export", "a", '{"format": "prores", "fps": "24000/1001", "handles": 8, "timecode": "", "reel": "A1"}'
    )
    assert (
        begun == [("prores", ExportChoice("24000/1001", 8, reel="A1"))]
        and "Once the queue is idle" in told[tab.layout.exported]
    )
    assert Reader(told[tab.layout.exported]).attributes.count(("class", "spinner")) == 1, "by which its clock ticks"
    states.pop(0)
    followed = tab.events.follow(tab.values)[tab.layout.exported]
    assert "a.mov" in followed and "spinner" not in followed
    assert "There is no format" in tab.click("export", "a", "../x")[tab.layout.problem]


def test_a_sheet_whose_clip_was_deleted_elsewhere_is_not_followed(tab: Tab, studio: Studio) -> None:
    tab.click("open", "a")
    studio.gallery.bin(["job-a"])
    studio.gallery.empty_bin()
    assert tab.events.follow(tab.values) == {tab.layout.report: gr.skip()}
    tab.click("close")
    assert tab.events.follow(tab.values) == {tab.layout.report: gr.skip()}


def test_finished_work_of_another_day_is_not_saved_again(
    tab: Tab, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link was sent to the page again, which downloads the file by itself."""
    file = studio.settings.exports / "a_x2.mp4"
    order = WorkOrder(WorkKind.FRAMES, PostProcessing(upscale=2))
    monkeypatch.setattr(studio.clip_works, "of", lambda _: ClipWork(WorkState.DONE, order, file=str(file)))
    monkeypatch.setattr(studio.exports, "of", lambda _: PageExport(ExportState.DONE, "prores", file="/x/a.mov"))
    monkeypatch.setattr(studio.verifications, "start", lambda _: None)
    monkeypatch.setattr(studio.clip_works, "start", lambda *_: None)
    assert tab.click("open", "a")[tab.layout.worked] == "", "its file is gone"
    file.write_bytes(b"an MP4")
    opened = tab.click("open", "a")
    for told in (opened, tab.click("verify", "a"), tab.events.follow(tab.values)):
        assert "a_x2.mp4" in told[tab.layout.worked] and "data-auto" not in told[tab.layout.worked]
        assert told[tab.layout.exported] == ""
    wanted = '{"upscale": "3", "upscaler": "realesr-animevideov3", "interpolate": "2", "interpolator": ""}'
    begun = tab.click("frames", "a", wanted)
    assert "data-auto" in begun[tab.layout.worked] and begun[tab.layout.exported] == ""
    assert "data-auto" in tab.events.follow(tab.values)[tab.layout.worked]


def test_frames_that_would_stay_as_they_are_are_refused(tab: Tab, studio: Studio) -> None:
    unchanged = {"upscale": "1", "upscaler": "", "interpolate": "1", "interpolator": ""}
    told = tab.click("open", "a") and tab.click("frames", "a", json.dumps(unchanged))
    assert "choose larger ones, or more of them" in told[tab.layout.problem]
    assert "upscale" in tab.click("frames", "a", '{"upscale": "9"}')[tab.layout.problem]


def test_the_page_offers_and_sends_what_makes_frames_in_between(
    tab: Tab, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[WorkOrder] = []
    monkeypatch.setattr(studio.clip_works, "start", lambda _, order: begun.append(order))
    studio.settings.interpolators.mkdir(parents=True)
    (studio.settings.interpolators / "rife-4.26.safetensors").write_bytes(b"")
    sheet = tab.click("open", "a")[tab.layout.over]
    for name in ("ffmpeg minterpolate", "rife-4.26"):
        assert f'<option value="{name}">{name}</option>' in sheet
    wanted = {"upscale": "1", "upscaler": "", "interpolate": "4", "interpolator": "rife-4.26"}
    tab.click("frames", "a", json.dumps(wanted))
    assert begun == [WorkOrder(WorkKind.FRAMES, PostProcessing(interpolate=4, interpolator="rife-4.26"))]
    told = tab.click("frames", "a", json.dumps(wanted | {"interpolate": "3"}))
    assert "interpolate" in told[tab.layout.problem]


def test_settings_go_back_to_the_form(tab: Tab) -> None:
    form = tab.links.filler.forms[Mode.TEXT_TO_VIDEO].form
    filled = tab.click("reuse", "b")
    assert (filled[form["prompt"]], filled[form["seed"]]) == ("clip b", "1")
    assert tab.click("vary", "b")[form["seed"]] == ""


def test_folders_open_for_nobody_elsewhere(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a folder was opened"))
    assert tab.click("folder", "a") == {tab.layout.report: gr.skip()}


def test_16_half_a_character_in_search_and_note_is_one_sentence(tab: Tab) -> None:
    """A lone surrogate, which no answer to the browser may hold."""
    for updates in (
        tab.events.search({**tab.values, tab.layout.text: "ball \ud83d"}),
        tab.click("note", "a", "note \ud83d"),
    ):
        shown = " ".join(str(value) for value in updates.values())
        assert "holds a control character (U+D83D); only printable text is allowed: remove it." in shown
        assert shown.encode()
