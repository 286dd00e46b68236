"""Title cards: black between clips, of their own length, with words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import opentimelineio as otio
import pytest

from wan_pipeline.cli import main
from wan_pipeline.clips.read import read_frames
from wan_pipeline.errors import RequestError
from wan_pipeline.progress import SilentObserver
from wan_pipeline.projects.cut.cut import Cut, CutItem, Title, TitlePlace
from wan_pipeline.projects.cut.edits import dissolved, titled, with_card
from wan_pipeline.projects.cut.orders import CutExported, CutFormat, CutOrder
from wan_pipeline.projects.cut.rendering.sequence import KnownClips, sequence_of
from wan_pipeline.projects.cut.timeline.changes import ChangeKind
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

ADAPTERS = {"otio": "otio_json", "edl": "cmx_3600", "xml": "fcp_xml"}
WORDS = "Ten years\nlater"


def made(studio: Studio, name: str) -> Cut:
    """A clip of 9 frames, a card of 12 into which it dissolves, another clip."""
    studio.cuts.new("Film", name)
    studio.cuts.add("Film", name, [studio.settings.clips / f"{clip}.mp4" for clip in ("one", "two ü")], end=9)
    return studio.cuts.change("Film", name, lambda cut: dissolved(with_card(cut, 1, WORDS, 12, TitlePlace.LOWER), 1, 4))


def write(studio: Studio, name: str, form: str, output: Path) -> CutExported:
    return studio.cuts.export("Film", name, CutOrder(CutFormat(form), output), SilentObserver())


def test_a_card_is_black_with_words_in_the_video(studio: Studio, tmp_path: Path) -> None:
    made(studio, "cards video")
    exported = write(studio, "cards video", "mp4", tmp_path / "film.mp4")
    frames = np.array(list(read_frames(tmp_path / "film.mp4"))).astype(int)
    assert (len(frames), exported.frames, exported.warnings) == (26, 26, ())
    card = frames[9:17]
    assert np.median(card) < 3 and card.max() > 120, "black, with letters"
    assert card[:, :32].max() < 30, "the words are in the lower third"


def test_ten_bit_video_has_the_card(studio: Studio, tmp_path: Path) -> None:
    made(studio, "ten bits")
    write(studio, "ten bits", "prores", tmp_path / "film.mov")
    frames = np.array(list(read_frames(tmp_path / "film.mov"))).astype(int)
    assert len(frames) == 26 and np.median(frames[9:17]) < 3 and frames[9:17].max() > 120


@pytest.mark.parametrize("form", ["otio", "edl", "xml"])
def test_a_timeline_names_it_and_it_comes_back(studio: Studio, tmp_path: Path, form: str) -> None:
    cut, output = made(studio, f"card {form}"), tmp_path / f"film.{form}"
    exported = write(studio, cut.name, form, output)
    assert exported.warnings == () and len(exported.media) == 2
    found = otio.adapters.read_from_file(str(output), ADAPTERS[form], **({"rate": 24} if form == "edl" else {}))
    timeline = found if isinstance(found, otio.schema.Timeline) else found[0]
    card = list(timeline.video_tracks()[0].find_clips())[1]
    assert card.name == "Ten years later" and isinstance(card.media_reference, otio.schema.GeneratorReference)
    assert card.duration().value == (12 if form == "edl" else 10), "only an EDL counts from a dissolve's beginning"
    incoming = studio.cuts.read("Film", cut.name, output)
    assert (incoming.changes, incoming.unknown, incoming.notes) == ((), (), ())
    assert incoming.cut.items == cut.items


@pytest.mark.parametrize("form", ["otio", "edl", "xml"])
def test_an_editors_new_words_and_moves_are_told(studio: Studio, tmp_path: Path, form: str) -> None:
    cut = made(studio, f"moved {form}")
    changed = titled(cut, 1, Title("Soon"))
    studio.cuts.save("Film", replace(changed, items=(changed.items[0], changed.items[2], changed.items[1])))
    write(studio, cut.name, form, tmp_path / f"film.{form}")
    studio.cuts.save("Film", cut)
    incoming = studio.cuts.read("Film", cut.name, tmp_path / f"film.{form}")
    assert {each.kind for each in incoming.changes} == {ChangeKind.MOVED, ChangeKind.TITLE}
    assert [item.is_card for item in incoming.cut.items] == [False, False, True]
    assert incoming.cut.items[2].title is not None and incoming.cut.items[2].title.text == "Soon"


def test_a_card_without_words_is_black_in_every_timeline(studio: Studio, tmp_path: Path) -> None:
    for form in ADAPTERS:
        cut = studio.cuts.change("Film", made(studio, f"black {form}").name, lambda cut: titled(cut, 1, None))
        write(studio, cut.name, form, tmp_path / f"film.{form}")
        assert studio.cuts.read("Film", cut.name, tmp_path / f"film.{form}").cut.items == cut.items


def test_a_cut_of_cards_alone_has_a_length() -> None:
    look = KnownClips().look
    cut = with_card(Cut("main", "25"), 0, "The End", 50)
    sequence = sequence_of(cut, Path(), look)
    assert titled(cut, 0, Title("The End", 5, 9)) == cut, "its words are seen as long as it is"
    assert (sequence.frames, sequence.pieces[0].title_span, sequence.pieces[0].problem) == (50, (0, 50), "")
    with pytest.raises(RequestError, match="has 1 clips, and no number 3"):
        with_card(cut, 2, "later", 5)
    with pytest.raises(RequestError, match="of 0 frames is not possible"):
        with_card(cut, 0, "later", 0)
    assert sequence_of(Cut("main", "", (CutItem(""),)), Path(), look).frames == 48


def test_the_command_adds_one_before_a_clip(home: Settings, studio: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    made(studio, "command")
    own = ["--project", "Film", "--cut", "command", "--workspace", str(home.workspace), "--json"]
    assert main(["cut", "card", "The End", "--frames", "10", "--before", "3", *own]) == 0
    clips = json.loads(capsys.readouterr().out.splitlines()[-1])["clips"]
    assert [(Path(each["clip"]).stem, each["frames"]) for each in clips] == [
        *(("one", 9), ("", 12)),
        *(("", 10), ("two ü", 9)),
    ]
