"""Cuts, read back by OpenTimelineIO and by FFmpeg's libraries."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote

import av
import numpy as np
import opentimelineio as otio
import pytest

from tests.support.observers import Recorder
from tests.support.soak import soaked
from wan_pipeline.cli import main
from wan_pipeline.clips.read import read_frames
from wan_pipeline.errors import Cancelled, ProjectError, RequestError
from wan_pipeline.progress import SilentObserver, Stage
from wan_pipeline.projects.cut.orders import CutExported, CutFormat, CutOrder
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

FILM = Fraction(24000, 1001)
ADAPTERS = {"otio": "otio_json", "edl": "cmx_3600", "xml": "fcp_xml"}


def clips(home: Settings, *names: str) -> list[Path]:
    return [home.clips / f"{name}.mp4" for name in names]


def made(studio: Studio, name: str, *names: str) -> str:
    studio.cuts.new("Film", name)
    for clip, (first, end) in zip(clips(studio.settings, *names), ((0, None), (2, 7), (0, None)), strict=False):
        studio.cuts.add("Film", name, [clip], first, end)
    return name


def write(studio: Studio, name: str, form: str, output: Path, **order) -> CutExported:
    return studio.cuts.export("Film", name, CutOrder(CutFormat(form), output, **order), SilentObserver())


def read_timeline(path: Path, form: str, rate: float) -> list[otio.schema.Clip]:
    found = otio.adapters.read_from_file(str(path), ADAPTERS[form], **({"rate": rate} if form == "edl" else {}))
    timeline = found if isinstance(found, otio.schema.Timeline) else found[0]
    return list(timeline.find_clips())


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


@pytest.mark.parametrize("form", ["otio", "edl", "xml"])
def test_a_timeline_names_the_clips_as_they_are(studio: Studio, tmp_path: Path, form: str) -> None:
    name, output = made(studio, f"as is {form}", "one", "two ü"), studio.settings.workspace.parent / f"film.{form}"
    exported = write(studio, name, form, output)
    assert (exported.frames, exported.fps, exported.clips, exported.warnings) == (14, "24", 2, ())
    one, two = read_timeline(output, form, 24)
    assert [clip.name for clip in (one, two)] == ["one", "two ü"]
    assert (two.source_range.start_time.value, two.source_range.duration.value) == (2, 5)
    url = unquote(one.media_reference.target_url)
    assert url == "workspace/clips/one.mp4" and (output.parent / url).is_file()


@pytest.mark.parametrize("form", ["otio", soaked("edl"), soaked("xml")])
def test_media_with_handles_are_made_beside_it(studio: Studio, tmp_path: Path, form: str) -> None:
    name, output = made(studio, f"handles {form}", "one", "two ü", "three"), tmp_path / f"film.{form}"
    exported = write(studio, name, form, output, rate=FILM, handles=4)
    assert (exported.frames, exported.fps, len(exported.media), exported.warnings) == (23, "24000/1001", 3, ())
    found = read_timeline(output, form, float(FILM))
    hour = 24 * 3600
    assert [clip.source_range.start_time.value for clip in found] == [hour, hour + 2, hour]
    for clip, path in zip(found, exported.media, strict=True):
        assert output.parent / unquote(clip.media_reference.target_url) == path
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.average_rate, stream.frames) == (FILM, 17)
            assert stream.metadata["timecode"] == "00:59:59:20"
    if form == "otio":
        available = found[1].media_reference.available_range
        assert (available.start_time.value, available.duration.value) == (hour - 4, 17)
        assert found[0].metadata["wan_studio"]["clip"] == "0abcdef0" * 4


def test_one_video_has_the_frames_in_order(studio: Studio, tmp_path: Path) -> None:
    name = made(studio, "video", "one", "two ü", "three")
    wanted = [frame for clip in clips(studio.settings, "one", "two ü", "three") for frame in read_frames(clip)]
    wanted = [*wanted[:9], *wanted[11:16], *wanted[18:]]
    for form, output in (("mp4", tmp_path / "film.mp4"), ("prores", tmp_path / "film.mov")):
        exported = write(studio, name, form, output)
        frames = decoded(output)
        assert exported.frames == len(frames) == len(wanted) == 23
        apart = [abs(frame - other).mean() for frame, other in zip(frames, wanted, strict=True)]
        assert max(apart) < 20
        shifted = [abs(frame - other).mean() for frame, other in zip(frames[1:], wanted, strict=False)]
        assert sum(apart) < 0.8 * sum(shifted)


def test_a_video_has_the_exact_rate(studio: Studio, tmp_path: Path) -> None:
    name, rate = made(studio, "exact", "one", "three"), Fraction(24000, 1001)
    exported = write(studio, name, "mp4", tmp_path / "film.mp4", rate=rate)
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert film.streams.video[0].average_rate == rate
        assert len(list(film.decode(video=0))) == exported.frames
    (take, *_) = clips(studio.settings, "one")
    with pytest.raises(RequestError, match="is the clip itself"):
        write(studio, name, "mp4", take)


def test_without_a_cut_the_picked_takes_are_exported(studio: Studio, tmp_path: Path) -> None:
    studio.projects.ensure("Empty")
    with pytest.raises(ProjectError, match="neither a cut nor picked takes"):
        studio.cuts.export("Empty", "", CutOrder(CutFormat.OTIO, tmp_path / "a.otio"), SilentObserver())
    for clip in studio.gallery.existing(["0abcdef0" * 4, "1abcdef0" * 4]):
        studio.gallery.star(clip.id, True)
    exported = write(studio, "", "otio", tmp_path / "film.otio")
    assert exported.clips == 2
    assert [clip.name for clip in read_timeline(tmp_path / "film.otio", "otio", 24)] == ["one", "two ü"]


def test_what_cannot_be_is_refused(studio: Studio, tmp_path: Path) -> None:
    name = made(studio, "refused", "three")
    with pytest.raises(RequestError, match="EDL cannot count 16 frames"):
        write(studio, name, "edl", tmp_path / "a.edl")
    with pytest.raises(RequestError, match=r"ends in \.edl"):
        write(studio, name, "edl", tmp_path / "a.otio")
    with pytest.raises(RequestError, match="has frames 0 to 9"):
        studio.cuts.add("Film", name, clips(studio.settings, "one"), 0, 10)
    with pytest.raises(ProjectError, match="is there already"):
        studio.cuts.new("Film", name)
    for bad in ("../x", "a/b", "", "a\\b"):
        with pytest.raises(ProjectError, match="cannot be the name"):
            studio.cuts.new("Film", bad)
    with pytest.raises(Cancelled):
        order = CutOrder(CutFormat.PRORES, tmp_path / "a.mov")
        studio.cuts.export("Film", name, order, Recorder(stop_at=(Stage.DECODING, 0)))
    assert list(tmp_path.iterdir()) == []


def test_on_the_command_line(home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders, cut = ["--workspace", str(home.workspace)], ["--project", "Line", "--json"]
    assert main([*folders, "cut", "new", *cut, "--fps", "24"]) == 0
    assert main([*folders, "cut", "add", *cut, *map(str, clips(home, "one", "two ü"))]) == 0
    assert main([*folders, "cut", "show", *cut]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (shown["frames"], [item["at"] for item in shown["clips"]]) == (18, [0, 9])
    output = tmp_path / "line.otio"
    assert main([*folders, "cut", "export", *cut, "--format", "otio", "--output", str(output)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["path"] == str(output) and len(read_timeline(output, "otio", 24)) == 2
