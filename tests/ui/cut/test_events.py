"""The handlers of the Cut room, on a real studio with three clips."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import gradio as gr

from tests.support.films import adopt_take, make_shots
from tests.support.pages import TEMPLATES, page_links
from tests.support.requests import make_request
from wan_pipeline.projects.cut.cut import Cut
from wan_pipeline.projects.project import Project
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Updates
from wan_pipeline.ui.cut.events import CutEvents
from wan_pipeline.ui.cut.layout import CutLayout, Selection
from wan_pipeline.ui.cut.offers import Offers


class Tab:
    """A browser tab that has the main cut of the project Film open."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            self.layout = CutLayout(TEMPLATES)
            links = page_links(page, studio)
        self.events = CutEvents(studio, TEMPLATES, self.layout, links)
        self.values: dict[Any, Any] = {box: box.value for box in self.events.inputs}
        self.values[links.project] = "Film"
        self.shown = self.poll()
        """What it was first shown."""

    def poll(self) -> Updates:
        return self._took(self.events.poll(self.values))

    def click(self, act: str, place: object = "", text: str = "") -> str:
        """Returns what the toast says."""
        updates = self._took(self.answer(act, place, text))
        toast = updates.get(self.layout.toast)
        return toast if isinstance(toast, str) else ""

    def select(self, place: int) -> None:
        self._took(self.answer("select", place))

    def answer(self, act: str, place: object = "", text: str = "") -> Updates:
        return self.events.act(dict(self.values), gr.EventData(None, {"act": act, "clip": str(place), "text": text}))

    def _took(self, updates: Updates) -> Updates:
        for box, kind in ((self.layout.selection, Selection), (self.layout.shown, dict)):
            if isinstance(updates.get(box), kind) and "__type__" not in str(updates[box]):
                self.values[box] = updates[box]
        return updates


def film(studio: Studio) -> None:
    studio.projects.create(Project("Film", "Film"))
    clips = [adopt_take(studio, None, make_request(width=160, height=160, num_frames=9, fps=8, seed=n)) for n in (1, 2)]
    studio.cuts.new("Film")
    studio.cuts.add("Film", "main", [studio.gallery.existing([each])[0].path for each in clips])


def cut(studio: Studio) -> Cut:
    return studio.cuts.existing("Film")


def test_what_another_tab_did_is_not_overwritten(studio: Studio) -> None:
    film(studio)
    one, two, first = Tab(studio), Tab(studio), cut(studio)
    one.click("move-after", 0)
    moved = cut(studio)
    assert "changed elsewhere" in two.click("remove", 0) and cut(studio) == moved
    assert not two.click("remove", 0) and len(cut(studio).items) == 1, "it was shown again"
    assert "changed elsewhere" in one.click("undo-edit")
    assert "nothing to undo" in one.click("undo-edit") and len(cut(studio).items) == 1
    two.click("undo-edit")
    assert cut(studio) == moved != first


def test_fast_clicks_are_all_done_and_can_be_undone(studio: Studio) -> None:
    film(studio)
    tab, first = Tab(studio), cut(studio)
    with ThreadPoolExecutor(4) as threads:  # all are sent before the first one is answered
        list(threads.map(lambda frame: tab.answer("title", frame % 2, f"Title {frame}"), range(4)))
    assert all(item.title for item in cut(studio).items)
    for _ in range(4):
        assert not tab.click("undo-edit")
    assert cut(studio) == first


def test_a_poll_reads_the_cut_only_when_its_file_has_changed(studio: Studio) -> None:
    film(studio)
    tab = Tab(studio)
    nothing = {tab.layout.shown: gr.skip()}
    assert tab.poll() == nothing
    file = studio.projects.path("Film").parent / "cuts" / "main.json"
    old = file.stat()
    file.write_bytes(b" " * old.st_size)
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert tab.poll() == nothing, "it was not read"
    os.utime(file)
    assert "cannot be read" in str(tab.poll()[tab.layout.head])


def test_a_poll_that_ends_after_a_click_does_not_take_back_what_it_selected(studio: Studio) -> None:
    film(studio)
    tab = Tab(studio)
    before = dict(tab.values)
    tab.select(1)
    studio.cuts.change("Film", "main", lambda cut: replace(cut, items=cut.items[::-1]))
    late = tab._took(tab.events.poll(before))
    assert tab.layout.timeline in late, "it has seen the change"
    inspector = str(tab.poll()[tab.layout.inspector])
    assert tab.values[tab.layout.selection].item == 1 and "Dissolve" in inspector


def test_after_an_edit_the_boxes_are_drawn_again_and_a_poll_lets_them_be(studio: Studio) -> None:
    film(studio)
    tab = Tab(studio)
    tab.select(1)
    drawn = [
        tab.answer(act, 1, text)[tab.layout.inspector]
        for act, text in (("dissolve", "99"), ("dissolve", "many"), ("end", ""))
    ]
    marks = [re.findall('data-drawn-at="([0-9]+)"', html) for html in drawn]
    assert all(marks) and len({*map(tuple, marks)}) == 3, "Gradio leaves alone what equals what it drew last"
    assert "99" in tab.click("dissolve", 1, "99")
    assert tab.poll() == {tab.layout.shown: gr.skip()}


def test_a_cut_and_a_version_get_the_name_that_was_typed_when_a_button_is_pressed(studio: Studio) -> None:
    film(studio)
    tab = Tab(studio)
    for act, saves in (("ask-new", "new"), ("ask-versions", "save-version")):
        dialog = tab.answer(act)[tab.layout.over]
        assert "data-fields" in dialog and f'data-act="{saves}"' in dialog
        assert "data-change" not in dialog, "a box that is only left, as by Escape, does nothing"
    assert "trailer&#39; is made" in tab.click("new", text='{"name": " trailer "}')
    assert studio.cuts.names("Film") == ["main", "trailer"]
    tab.click("save-version", text='{"name": "for the client"}')
    assert [each.name for each in studio.cuts.versions("Film", "trailer")] == ["for the client"]
    assert "cannot be read" in tab.click("new", text="trailer")


def test_the_newest_final_of_a_clip_is_taken(studio: Studio) -> None:
    studio.projects.create(Project("Film", "Film"))
    (shot,) = make_shots(studio, "Film", 1)
    draft = adopt_take(studio, shot)
    *_, newest = [adopt_take(studio, shot, final_of=draft) for _ in range(2)]
    studio.cuts.new("Film")
    studio.cuts.add("Film", "main", [studio.gallery.existing([draft])[0].path])
    tab = Tab(studio)
    assert "1 final taken" in tab.click("relink") and cut(studio).items[0].clip == f"{newest}.mp4"


def test_all_that_is_added_is_what_cuts_take_for_picked(studio: Studio) -> None:
    studio.projects.create(Project("Film", "Film"))
    shots = make_shots(studio, "Film", 3)
    takes = [adopt_take(studio, shot) for shot in shots]
    studio.shots.pick([studio.shots.of_number(shot.number).done[0] for shot in shots])
    final = adopt_take(studio, shots[2], final_of=takes[2])
    studio.gallery.bin([takes[0]])
    offers = Offers(studio)
    assert [(each.id, each.name) for each in offers.of("Film", "picked")] == [
        (takes[1], "1/020, take 1"),
        (final, "1/030, take 2"),
    ]
    tab = Tab(studio)
    assert not tab.click("add-all")
    assert [item.clip for item in cut(studio).items] == [f"{takes[1]}.mp4", f"{final}.mp4"]
    assert offers.of("No such", "picked") == []


def test_a_take_is_called_by_its_shot_and_a_clip_of_none_by_its_file(studio: Studio) -> None:
    film(studio)
    (shot,) = make_shots(studio, "Film", 1)
    take = studio.gallery.existing([adopt_take(studio, shot)])[0]
    studio.cuts.add("Film", "main", [take.path])
    tab = Tab(studio)
    shown = str(tab.shown[tab.layout.timeline])
    names = re.findall(r'<span class="cut-name"><b>\d</b> ([^<]+)</span>', shown)
    assert names == [studio.cuts.look(cut(studio)).pieces[n].name for n in (0, 1)] + ["1/010, take 1"]
