"""Timelines as editors' programs write them, and files that are none."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest

from wan_pipeline.clips.export.source import Source
from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.cut.timeline.find import Finder
from wan_pipeline.projects.cut.timeline.read import Event, ReadTimeline, read_timeline


def clip(name: str, *, offline: bool = False) -> otio.schema.Clip:
    time = otio.opentime.RationalTime
    span = None if offline else otio.opentime.TimeRange(time(0, 24), time(9, 24))
    return otio.schema.Clip(name, otio.schema.MissingReference(), span)


def timeline(*parts: otio.core.Composable) -> otio.schema.Timeline:
    made = otio.schema.Timeline("film")
    made.tracks.append(otio.schema.Track("V1", list(parts), kind=otio.schema.TrackKind.Video))
    return made


def written(path: Path, *parts: otio.core.Composable) -> Path:
    otio.adapters.write_to_file(timeline(*parts), str(path))
    return path


def nested(path: Path, levels: int) -> Path:
    """A timeline whose metadata have so many lists in each other."""
    values = json.loads(otio.adapters.write_to_string(timeline(clip("one")), "otio_json"))
    deep: list = []
    for _ in range(levels):
        deep = [deep]
    path.write_text(json.dumps({**values, "metadata": {"deep": deep}}))
    return path


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    assert len(read_timeline(nested(tmp_path / "a.otio", 100), Fraction(24)).events) == 1
    with pytest.raises(ProjectError, match="nested too deeply"):
        read_timeline(nested(tmp_path / "b.otio", 500), Fraction(24))


def test_an_offline_clip_is_left_out_and_told(tmp_path: Path) -> None:
    found = read_timeline(written(tmp_path / "a.otio", clip("one"), clip("gone", offline=True)), Fraction(24))
    assert [event.name for event in found.events] == ["one"]
    assert found.notes == ("gone is offline and has no length; it is left out.",)


def test_a_timeline_of_nested_sequences_alone_is_refused(tmp_path: Path) -> None:
    inner = otio.schema.Stack(children=[otio.schema.Track("V1", [clip("one")])])
    with pytest.raises(ProjectError, match="holds only nested sequences"):
        read_timeline(written(tmp_path / "a.otio", inner), Fraction(24))


def test_a_time_that_is_no_number_is_refused(tmp_path: Path) -> None:
    text = written(tmp_path / "a.otio", clip("one")).read_text()
    (tmp_path / "b.otio").write_text(text.replace('"value": 9.0', '"value": NaN'))
    with pytest.raises(ProjectError, match=r"b\.otio cannot be read"):
        read_timeline(tmp_path / "b.otio", Fraction(24))


def event(name: str, folder: str = "", reel: str = "") -> Event:
    folders = tuple(folder.split("/")) if folder else ()
    return Event(name, name, "", reel, 0, 9, Fraction(24), folders)


def test_an_ambiguous_name_is_told_and_not_guessed(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("1/010_001.mp4", "2/010_001.mp4", "2/020_001.mp4")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    by_reel = {"0abcdef0": paths[0]}
    by_id: dict[str, Path] = {}
    finder = Finder(
        *(by_id.get, by_reel.get, [*paths, *paths], tmp_path),
        lambda path: Source(path, Fraction(24), (96, 64), 9, None, None),
    )
    events = (
        event("010_001"),
        event("010_001", "other machine/2"),
        event("010_001", "film_media"),
        event("010_001", reel="0ABCDEF0"),
        event("020_001", "elsewhere"),
    )
    found = finder.cut(ReadTimeline(Fraction(24), events, (), ()), "main")
    assert [item.clip for item in found.cut.items] == ["2/010_001.mp4", "1/010_001.mp4", "2/020_001.mp4"]
    assert found.unknown == ("010_001",)
    assert found.notes == (
        "010_001 may be any of 1/010_001.mp4, 2/010_001.mp4, so none was taken; rename one, or add it by hand.",
    )


def test_the_folders_of_media_are_read(tmp_path: Path) -> None:
    seen = clip("010_001")
    seen.media_reference = otio.schema.ExternalReference("../workspace/clips/a%20b/010_001.mp4")
    (found,) = read_timeline(written(tmp_path / "a.otio", seen), Fraction(24)).events
    assert (found.file, found.folders[-2:]) == ("010_001", ("clips", "a b"))
