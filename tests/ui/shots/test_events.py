"""The handlers of the Shots room, on a real studio with shots and finished takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from tests.support.films import adopt_take, make_shots
from tests.support.pages import TEMPLATES, Reader, page_links
from tests.support.requests import make_request
from wan_pipeline.projects.project import FinalProfile, Profile, Project
from wan_pipeline.projects.shots.shot import NewShot, Shot, ShotStatus
from wan_pipeline.requests.prompts.characters import Character
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates
from wan_pipeline.ui.common.parts.many_clips import ManyClips
from wan_pipeline.ui.shots.events import ShotsEvents
from wan_pipeline.ui.shots.html import PAGE_SIZE
from wan_pipeline.ui.shots.layout import ShotsLayout

SMALL = {"width": 160, "height": 160, "num_frames": 9, "fps": 8}
FINAL = Profile(num_inference_steps=6, width=192, height=160)


class Tab:
    """A browser tab that shows the shots of the project Film: it keeps what it shows."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            self.layout = ShotsLayout()
            self.links = page_links(page, studio)
        self.events = ShotsEvents(studio, TEMPLATES, self.layout, self.links)
        self.values: dict[Any, Any] = {box: box.value for box in self.events.inputs}
        self.values[self.links.project] = "Film"
        self.board = self.shown(self.events.refresh(self.values))

    def click(self, act: str, subject: object = "", text: str = "") -> Updates:
        event = gr.EventData(None, {"act": act, "clip": str(subject), "text": text})
        updates = self.events.act(self.values, event)
        self.board = self.shown(updates)
        return updates

    def shown(self, updates: Updates) -> Reader:
        for box in (self.layout.selection, self.layout.shown):
            if isinstance(updates.get(box), (dict, type(self.values[self.layout.selection]))):
                self.values[box] = updates[box]
        found = updates.get(self.layout.board)
        return Reader(found) if isinstance(found, str) else self.board


@pytest.fixture
def film(studio: Studio) -> Studio:
    """Three shots: the first with two takes, the second with one."""
    studio.projects.create(Project("Film", "Film", final=FINAL))
    one, two, _ = make_shots(studio, "Film", 3)
    for shot, seed in ((one, 1), (one, 2), (two, 3)):
        adopt_take(studio, shot, make_request(**SMALL, seed=seed))
    return studio


def shot(studio: Studio, address: str = "010") -> Shot:
    return studio.shots.existing(address, "Film")


def test_shots_are_shown_in_order_with_their_takes(film: Studio) -> None:
    tab = Tab(film)
    assert [tab.board.text.index(address) for address in ("1/010", "1/020", "1/030")] == sorted(
        tab.board.text.index(address) for address in ("1/010", "1/020", "1/030")
    )
    assert tab.board.tags.count("img") == 3 and "No takes yet" in tab.board.text
    assert tab.events.refresh(tab.values) == {tab.layout.shown: gr.skip()}, "nothing has changed"


def test_the_table_has_a_line_a_shot_with_the_take_that_stands_for_it(film: Studio) -> None:
    tab = Tab(film)
    assert "table" not in tab.board.tags
    first, second = shot(film).takes
    tab.click("as-table")
    assert tab.board.tags.count("tr") == 1 + 3 and tab.board.tags.count("img") == 2
    assert f'data-clip="{second.id}"' in tab.board.html, "the newest draft"
    tab.click("pick-take", first.id)
    assert f'data-clip="{first.id}"' in tab.board.html and f'data-clip="{second.id}"' not in tab.board.html
    assert {"new-take", "again", "edit", "move-up", "move-down", "finish"} <= tab.board.acts
    tab.click("as-board")
    assert "table" not in tab.board.tags and tab.board.tags.count("img") == 3


def test_takes_are_picked_rejected_and_rated(film: Studio) -> None:
    tab, (first, second) = Tab(film), shot(film).takes
    tab.click("pick-take", second.id)
    assert shot(film).picked == second.id and "picked" in tab.board.text
    tab.click("pick-take", second.id)
    assert shot(film).picked == ""
    tab.click("reject-take", first.id)
    tab.click("rate-4", second.id)
    assert (shot(film).takes[0].is_rejected, shot(film).takes[1].rating) == (True, 4)
    assert "★★★★" in tab.board.text


def test_new_takes_and_variations_are_queued_after_their_forecast(film: Studio) -> None:
    tab, (first, _) = Tab(film), shot(film).takes
    told = tab.click("new-take", shot(film).number)
    assert "waits in the queue" in told[tab.layout.toast] and len(shot(film).takes) == 3
    dialog = Reader(tab.click("axes", first.id, "guidance=2,4\nsteps=1,2")[tab.layout.over])
    assert "4 clips, about" in dialog.text and "on the disk" in dialog.text and "queue-again" in dialog.acts
    assert len(shot(film).takes) == 3, "nothing is queued before it is confirmed"
    tab.click("queue-again", first.id, "guidance=2,4\nsteps=1,2")
    assert len(shot(film).takes) == 7 and {take.seed for take in shot(film).takes[3:]} == {first.seed}
    wrong = Reader(tab.click("axes", first.id, "nonsense=1")[tab.layout.over])
    assert "is no setting of a grid" in wrong.text and "queue-again" not in wrong.acts


def test_picked_takes_are_finished_after_a_forecast(film: Studio) -> None:
    tab = Tab(film)
    for each in ("010", "020"):
        tab.click("pick-take", shot(film, each).takes[0].id)
    dialog = Reader(tab.click("ask-finish")[tab.layout.over])
    assert "2 clips, about" in dialog.text and "192 x 160 and its draft 160 x 160" in dialog.text
    tab.click("finish-all")
    finals = [shot(film, each).takes[-1] for each in ("010", "020")]
    assert [final.final_of for final in finals] == [shot(film, each).picked for each in ("010", "020")]
    assert "Every picked take has its final" in tab.click("ask-finish")[tab.layout.toast]
    dialog = Reader(tab.click("ask-open")[tab.layout.over])
    assert "Make 1 take" in dialog.text


def test_shots_are_moved_edited_and_removed(film: Studio) -> None:
    tab = Tab(film)
    one, two, three = film.shots.all("Film")
    tab.click("move-before", three.number, str(one.number))
    tab.click("move-down", one.number)
    assert [each.shot for each in film.shots.all("Film")] == ["030", "020", "010"]
    tab.click("shot", two.number, "025")
    tab.click("description", two.number, "a <script>kite</script>")
    assert film.shots.of_number(two.number).address == "1/025" and "script" not in tab.board.tags
    told = tab.click("shot", two.number, "a/b")
    assert "is no id" in told[tab.layout.toast]
    asked = tab.click("ask-remove-shot", two.number)[tab.layout.over]
    assert f'data-clip="{two.number}"' in asked and "stay in the gallery" in asked and len(film.shots.all("Film")) == 3
    tab.click("remove-shot", two.number)
    assert "not there any more" in tab.click("move-up", two.number)[tab.layout.toast]
    assert len(film.shots.all("Film")) == 2


def test_filters_and_pages_keep_to_what_matches(film: Studio) -> None:
    film.shots.ensure("Film", [NewShot(f"{number:04}", "2", "a kite") for number in range(PAGE_SIZE + 5)])
    tab = Tab(film)
    assert tab.board.tags.count("li") == PAGE_SIZE
    tab.click("next")
    assert tab.board.tags.count("li") == 8
    tab.values |= {tab.layout.text: "red 2", tab.layout.scene: "1", tab.layout.status: ShotStatus.DRAFT.value}
    tab.board = tab.shown(tab.events.search(tab.values))
    assert tab.board.tags.count("li") == 1 and "1/020" in tab.board.text


def test_a_shot_list_is_added_and_a_list_without_shots_is_not(film: Studio, tmp_path: Path) -> None:
    tab, path = Tab(film), tmp_path / "list.csv"
    path.write_text("scene,shot,description\n3,900,a boat\n")
    assert "1 shot added or updated" in tab.events.add_file(str(path), "Film")[tab.layout.toast]
    assert shot(film, "900").description == "a boat"
    path.write_text("prompt\na boat\n")
    assert "names no shots" in tab.events.add_file(str(path), "Film")[tab.layout.toast]


def test_a_take_is_opened_with_its_review(film: Studio) -> None:
    tab, take = Tab(film), shot(film).takes[0]
    film.comments.add(take.id, "Too slow", "0badcafe", 3)
    dialog = Reader(tab.click("open", take.id)[tab.layout.over])
    assert "frame 3" in dialog.text and "Too slow" in dialog.text
    (comment,) = film.comments.of_clip(take.id)
    answered = tab.click("done", comment.id, take.id)[tab.layout.over]
    assert "Open again" in Reader(answered).text and film.comments.of_clip(take.id)[0].is_done
    tab.click("answer", take.id, "The next one is quicker")
    assert [comment.text for comment in film.comments.of_clip(take.id)] == ["Too slow", "The next one is quicker"]
    sheet = tab.click("sheet")[tab.layout.toast]
    assert "contact-sheet.pdf" in sheet
    film.projects.save(replace(film.projects.existing("Film"), final=FinalProfile()))
    assert "no final profile" in tab.click("finish-take", take.id)[tab.layout.toast]


def test_chosen_takes_are_changed_together(film: Studio) -> None:
    tab = Tab(film)
    before = dict(tab.values)
    takes = [take.id for shot in film.shots.all("Film") for take in shot.takes]
    for take in takes[:2]:
        bar = tab.click("pick", take)[tab.layout.bar]
    assert "2 clips chosen" in bar and tab.values[tab.layout.selection].chosen == tuple(takes[:2])
    film.gallery.rate(takes[2], 1)
    late = tab.events.refresh(before)
    assert late and tab.layout.selection not in late, "a poll that began before the clicks takes nothing back"
    film.gallery.rate(takes[2], 0)
    tab.click("many-rate", text="4")
    assert [film.gallery.clip(take).rating for take in takes] == [4, 4, 0]
    gone = tab.click("many-bin")
    assert gone[tab.layout.bar] == "" and "undo" in Reader(gone[tab.layout.toast]).acts
    assert film.shots.all("Film")[0].takes == ()
    tab.click("undo", text=" ".join(takes[:2]))
    assert len(film.shots.all("Film")[0].takes) == 2


def test_takes_of_another_project_or_gone_are_chosen_no_more(film: Studio) -> None:
    tab, takes = Tab(film), [take.id for take in shot(film).takes]
    for take in takes:
        tab.click("pick", take)
    film.gallery.bin(takes[:1])
    assert "1 clip chosen" in tab.events.refresh(tab.values)[tab.layout.bar]
    tab.values[tab.links.project] = "Other"
    assert "choose again" in tab.click("many-bin")[tab.layout.toast]
    assert tab.values[tab.layout.selection].chosen == ()
    assert [take.id for take in shot(film).takes] == takes[1:], "the other project's take stays"


def test_clips_that_can_be_are_binned_with_undo(film: Studio) -> None:
    first, second = (take.id for take in shot(film).takes)
    event = gr.EventData(None, {"act": "many-bin", "clip": "", "text": ""})
    done = ManyClips(film).actions["many-bin"]((first, "gone", second), Click.of(event))
    assert done.undo == (first, second) and "2 clips moved to the bin, 1 not: There is no clip gone" in done.text


def test_a_character_is_made_and_changed_in_its_dialog(film: Studio, tmp_path: Path) -> None:
    tab, picture = Tab(film), tmp_path / "anna.png"
    Image.new("RGB", (64, 64), "red").save(picture)
    assert "No character" not in tab.click("characters")[tab.layout.over]
    opened = tab.click("character-new", text="anna")
    assert opened[tab.layout.character] == "anna" and "@anna" in opened[tab.layout.over]
    tab.click("character-sentence", "anna", "a woman")
    tab.click("character-kind", "anna", "place")
    shown = tab.events.add_pictures([str(picture)], "Film", "anna")[tab.layout.over]
    assert "Picture 1 of anna" in shown
    assert "Choose a LoRA" in tab.click("character-weight", "anna", "0.5")[tab.layout.toast]
    tab.click("character-lora", "anna", "ink")
    tab.click("character-weight", "anna", "0.5")
    tab.click("character-name", "anna", "mill")
    mill = film.characters.all("Film")["mill"]
    assert (mill.sentence, mill.kind, mill.lora, len(mill.pictures)) == ("a woman", "place", LoraChoice("ink", 0.5), 1)
    tab.click("character-no-picture", "mill", mill.pictures[0])
    assert film.characters.all("Film")["mill"].pictures == ()
    assert "is no name" in tab.click("character-new", text="two words")[tab.layout.toast]
    tab.click("character-remove", "mill")
    assert film.characters.all("Film") == {}


def test_a_final_of_another_size_may_keep_its_layout(film: Studio) -> None:
    tab, shot = Tab(film), film.shots.all("Film")[0]
    asked = tab.click("finish-take", shot.takes[0].id)[tab.layout.over]
    assert {"finish-one", "finish-one-kept"} <= Reader(asked).acts and "the composition may differ" in asked
    tab.click("finish-one-kept", shot.takes[0].id)
    (final,) = [job for job in film.jobs.recent(9) if job.request.noise_size]
    assert (final.request.noise_size, final.request.width) == ("160x160@0.65", 192)


def test_a_damaged_picture_leaves_the_characters_to_be_opened(film: Studio, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        Image.new("RGB", (160, 128), colour).save(tmp_path / f"{colour}.png")
        film.characters.add("Film", colour, Character(), [tmp_path / f"{colour}.png"])
    (damaged,) = film.characters.pictures(film.characters.all("Film")["red"])
    damaged.write_bytes(damaged.read_bytes()[:90])
    tab = Tab(film)
    shown = tab.click("characters")[tab.layout.over]
    assert "@red" in shown and Reader(shown).tags.count("img") == 1
    assert "gone" in tab.click("character", text="red")[tab.layout.over]
