"""Dissolves and titles: in a cut's model, in its frames, and in the timelines that leave and come back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio
import pytest

from tests.projects.cut.test_cuts import ADAPTERS, clips, decoded, made, write
from wan_pipeline.cli import main
from wan_pipeline.clips.read import read_frames
from wan_pipeline.errors import ProjectError, RequestError
from wan_pipeline.projects.cut.cut import Cut, CutItem, Title, TitlePlace
from wan_pipeline.projects.cut.edits import dissolved, moved, removed, split, titled, trimmed
from wan_pipeline.projects.cut.rendering.mixer import Mixer
from wan_pipeline.projects.cut.rendering.render import mixed
from wan_pipeline.projects.cut.rendering.titles import draw_title, opacity
from wan_pipeline.projects.cut.timeline.changes import ChangeKind, changes
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


def joined(studio: Studio, name: str) -> str:
    """One, two and again one: 9 frames, 4 of them dissolving into 7, and 9 with a title."""
    studio.cuts.new("Film", name)
    one, two = clips(studio.settings, "one", "two ü")
    studio.cuts.add("Film", name, [one])
    studio.cuts.add("Film", name, [two], 1, 8, 4)
    studio.cuts.add("Film", name, [one])
    studio.cuts.change("Film", name, lambda cut: titled(cut, 2, Title("The\nEnd", 1, 6)))
    return name


def test_the_frames_of_a_dissolve_are_mixed(studio: Studio) -> None:
    name = joined(studio, "mixed")
    sequence = studio.cuts.look(studio.cuts.existing("Film", name))
    assert (sequence.frames, sequence.starts) == (21, [0, 5, 12])
    one, two = ([frame.astype(int) for frame in read_frames(clip)] for clip in clips(studio.settings, "one", "two ü"))
    frames = list(mixed(sequence))
    assert len(frames) == 21
    for place, share in enumerate((0.2, 0.4, 0.6, 0.8)):
        wanted = np.rint(one[5 + place] * (1 - share) + two[1 + place] * share)
        assert abs(frames[5 + place] - wanted).max() <= 1
    assert all((frames[place] == one[place]).all() for place in range(5))
    assert all((frames[place] == two[place - 4]).all() for place in range(9, 12))
    assert (frames[12] == one[0]).all() and (frames[20] == one[8]).all()  # before and after the title
    assert frames[15].max() == 255 or frames[15].mean() > one[3].mean()


def test_a_dissolve_of_16_bits_holds_its_own_frames_alone(studio: Studio) -> None:
    sequence = studio.cuts.look(studio.cuts.existing("Film", joined(studio, "deep")))
    mixer, out = Mixer(sequence), []
    for number, piece in enumerate(sequence.pieces):
        mixer.next_piece()
        for _ in range(piece.frames):
            level = np.full((64, 96, 3), 60_000 * (number == 1), np.uint16)
            out += list(mixer.add(level))
    assert [int(frame[0, 0, 0]) for frame in out[4:10]] == [0, 12_000, 24_000, 36_000, 48_000, 60_000]
    assert len(out) == 21 and max(frame.max() for frame in out[12:]) > 20_000  # the title's letters


@pytest.mark.parametrize("place", list(TitlePlace))
def test_a_title_fits_into_the_frame(place: TitlePlace) -> None:
    picture = draw_title(Title("A title that is much longer than its frame is wide", place=place), (160, 90))
    height, width = picture.pixels.shape[:2]
    assert picture.left >= 0 and picture.left + width <= 160 and picture.top >= 0 and picture.top + height <= 90
    assert picture.pixels[..., :3].max() > 200 and picture.pixels[..., 3].max() > 200
    assert [round(opacity(frame, 20), 3) for frame in (0, 6, 19)] == [0.143, 1.0, 0.143]


def test_a_letter_that_no_font_has_is_named() -> None:
    with pytest.raises(RequestError, match="No font here has the letter"):
        draw_title(Title("\U000e1234"), (160, 90))


def test_one_video_has_dissolves_and_titles(studio: Studio, tmp_path: Path) -> None:
    name = joined(studio, "video 2")
    wanted = list(mixed(studio.cuts.look(studio.cuts.existing("Film", name))))
    for form, ending in (("mp4", "mp4"), ("prores", "mov")):
        exported = write(studio, name, form, tmp_path / f"film.{ending}")
        frames = decoded(tmp_path / f"film.{ending}")
        assert exported.frames == len(frames) == 21
        assert max(abs(frame - other).mean() for frame, other in zip(frames, wanted, strict=True)) < 20


@pytest.mark.parametrize("form", ["otio", "edl", "xml"])
def test_a_timeline_round_trips(studio: Studio, tmp_path: Path, form: str) -> None:
    name, output = joined(studio, f"there and back {form}"), tmp_path / f"film.{form}"
    write(studio, name, form, output, handles=3)
    read = otio.adapters.read_from_file(str(output), ADAPTERS[form], **({"rate": 24} if form == "edl" else {}))
    timeline = read if isinstance(read, otio.schema.Timeline) else read[0]
    dissolves = list(timeline.find_children(otio.schema.Transition))
    assert [each.in_offset.value + each.out_offset.value for each in dissolves] == [4]
    assert len(timeline.video_tracks()) == (1 if form == "edl" else 2)
    incoming = studio.cuts.read("Film", name, output)
    assert (incoming.changes, incoming.unknown, incoming.notes) == ((), (), ())


def test_notes_are_markers(studio: Studio, tmp_path: Path) -> None:
    name = made(studio, "noted", "one", "two ü")
    for clip, frame, text in (("1abcdef0" * 4, 4, "too\nfast"), ("1abcdef0" * 4, 8, "not seen")):
        studio.comments.add(clip, text, frame=frame)
    for form, first in (("otio", 4), ("edl", 4), ("xml", 4)):
        write(studio, name, form, tmp_path / f"n.{form}")
        options = {"rate": 24} if form == "edl" else {}
        read = otio.adapters.read_from_file(str(tmp_path / f"n.{form}"), ADAPTERS[form], **options)
        timeline = read if isinstance(read, otio.schema.Timeline) else read[0]
        one, two = timeline.find_clips()
        assert not one.markers
        (marker,) = two.markers
        assert "too fast" in marker.name.lower() and marker.marked_range.start_time.value == first


def test_what_an_editor_changed_is_told_and_taken_over(studio: Studio, tmp_path: Path) -> None:
    name, output = made(studio, "edited", "one", "two ü", "three"), tmp_path / "film.otio"
    write(studio, name, "otio", output, handles=2)
    timeline = otio.adapters.read_from_file(str(output))
    one, two, three = list(timeline.tracks[0])
    del timeline.tracks[0][:]
    one.source_range = otio.opentime.TimeRange(one.source_range.start_time, otio.opentime.RationalTime(5, 24))
    two.metadata.clear()  # found by its media
    foreign = three.clone()
    foreign.metadata.clear()
    foreign.name, foreign.media_reference.target_url = "drone", "somewhere/drone.mov"
    timeline.tracks[0].extend([two, foreign, one, one.clone()])
    otio.adapters.write_to_file(timeline, str(output))

    before = studio.cuts.existing("Film", name)
    incoming = studio.cuts.read("Film", name, output)
    kinds = [(change.kind.value, change.clip) for change in incoming.changes]
    assert incoming.unknown == ("drone",) and studio.cuts.existing("Film", name) == before
    assert ("removed", "three.mp4") in kinds and ("unknown", "drone") in kinds and ("added", "one.mp4") in kinds
    assert (("trimmed", "one.mp4") in kinds and ("moved", "one.mp4") in kinds) or ("moved", "two ü.mp4") in kinds
    assert any("from frames 0 to 9 to frames 0 to 5" in change.sentence for change in incoming.changes)
    taken = studio.cuts.take_over("Film", incoming)
    assert [(item.clip, item.first, item.end) for item in taken.items] == [
        ("two ü.mp4", 2, 7),
        ("one.mp4", 0, 5),
        ("one.mp4", 0, 5),
    ]
    assert studio.cuts.versions("Film", name)[-1].cut == before
    for bad, text in ((tmp_path / "a.txt", ""), (tmp_path / "b.otio", "{"), (tmp_path / "c.edl", "nothing")):
        bad.write_text(text)
        with pytest.raises(ProjectError, match=r"is no timeline|cannot be read|holds no clips"):
            studio.cuts.read("Film", name, bad)


def test_edits() -> None:
    a, b, c = (CutItem(name, 0, 9) for name in "abc")
    cut = Cut("x", items=(a, b, c))
    assert moved(cut, 0, 2).items == (b, c, a) and moved(cut, 2, -5).items == (c, a, b)
    assert removed(cut, 1).items == (a, c) and trimmed(cut, 0, 2, 5).items[0] == replace(a, first=2, end=5)
    assert split(cut, 1, 4).items[1:3] == (replace(b, end=4), replace(b, first=4))
    assert dissolved(cut, 1, 4).items[1].dissolve == 4
    for wrong in (
        lambda: split(cut, 1, 9),
        lambda: dissolved(cut, 1, 1),
        lambda: removed(cut, 3),
        lambda: titled(cut, 0, Title(" ")),
    ):
        with pytest.raises(RequestError):
            wrong()
    found = changes(cut.items, (c, a, b))
    assert [(change.kind, change.clip) for change in found] == [(ChangeKind.MOVED, "c")]


def test_a_dissolve_needs_frames_of_its_own(studio: Studio) -> None:
    name = made(studio, "room", "one", "two ü")
    with pytest.raises(RequestError, match="there is room for 5"):
        studio.cuts.change("Film", name, lambda cut: dissolved(cut, 1, 6))
    with pytest.raises(RequestError, match="cannot be saved"):
        studio.cuts.add("Film", name, clips(studio.settings, "one"), dissolve=-3)


def test_a_cut_of_an_older_version_is_read(studio: Studio, home: Settings) -> None:
    old = {"name": "old", "rate": "24", "items": [{"clip": "one.mp4", "first": 2, "end": None}]}
    folder = studio.projects.path(studio.projects.existing("Film").id).parent / "cuts"
    folder.mkdir(exist_ok=True)
    (folder / "old.json").write_text(json.dumps(old))
    cut = studio.cuts.existing("Film", "old")
    assert cut == Cut("old", "24", (CutItem("one.mp4", 2),)) and studio.cuts.look(cut).frames == 7


@pytest.mark.soak
def test_options_on_the_command_line(home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> dict:
        folders = ["--workspace", str(home.workspace)]
        assert main([*folders, "cut", *map(str, arguments), "--project", "Options", "--json"]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    one, two = clips(home, "one", "two ü")
    run("new")
    run("add", one)
    run("add", two, "--dissolve", 4, "--in", 1, "--out", 8)
    shown = run("title", "Hello", "--on", 2, "--at", 1, "--frames", 3, "--place", "lower")
    assert [(item["at"], item["dissolve"]) for item in shown["clips"]] == [(0, 0), (5, 4)]
    assert shown["clips"][1]["title"] == {"text": "Hello", "first": 1, "frames": 3, "place": "lower"}
    assert run("versions", "--save", "good")["versions"][0]["name"] == "good"
    run("title", "", "--on", 2)
    assert run("restore", 1)["clips"][1]["title"]["text"] == "Hello"
    assert [version["name"] for version in run("versions")["versions"]] == ["good", "Before version 1"]
    assert run("relink")["relinked"] == []
    output = tmp_path / "a.xml"
    options = ("--timecode", "10:00:00:00", "--reel", "name")
    run("export", "--format", "xml", "--output", output, *options)
    assert "10:00:00:00" in output.read_text()
    report = run("import", output)
    assert (report["changes"], report["applied"]) == ([], False)


def test_a_program_gets_its_media(studio: Studio, tmp_path: Path) -> None:
    name = made(studio, "program", "one")
    exported = write(studio, name, "xml", tmp_path / "a.xml", media="prores", timecode="02:00:00:00")
    with av.open(str(exported.media[0])) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"
    assert "02:00:00:00" in (tmp_path / "a.xml").read_text()
    with pytest.raises(RequestError, match="is no timecode"):
        write(studio, name, "xml", tmp_path / "b.xml", timecode="99:00")
