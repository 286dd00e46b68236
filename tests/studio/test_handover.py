"""The hand-over: picked takes to a timeline, an edit list, ProRes and 16-bit PNG, read back by other libraries."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import av
import opentimelineio as otio
import pytest

from tests.cli.test_clips import MODEL
from tests.clips.test_sound import tone
from tests.support.requests import make_request
from wan_pipeline.cli import main
from wan_pipeline.engine.engine import Engine
from wan_pipeline.jobs.worker.render import Label, make_clip
from wan_pipeline.progress import SilentObserver
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

IDS = ("a" * 32, "b" * 32)


@pytest.fixture
def picked(settings: Settings, tiny_demo: Path) -> Settings:
    """A workspace with two picked takes in the project Film."""
    (settings.models / MODEL).symlink_to(tiny_demo, target_is_directory=True)
    with Engine(settings) as engine:
        for number, job in enumerate(IDS):
            request = make_request(model=MODEL, width=96, height=64, num_frames=9, fps=24, seed=number)
            make_clip(engine, request, SilentObserver(), settings.clips / f"{job}.mp4", Label(job, "Film"))
    with Studio(settings) as studio:
        studio.projects.ensure("Film")
        studio.gallery.rescan()
        for job in IDS:
            studio.gallery.star(job, True)
    return settings


@pytest.mark.soak
def test_picked_takes_leave_the_studio(picked: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> dict[str, object]:
        folders = ["--workspace", str(picked.workspace), "--models-folder", str(picked.models)]
        assert main([*folders, *map(str, arguments), "--json"]) == 0
        report: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return report

    out = tmp_path / "out"
    for form, adapter in (("otio", "otio_json"), ("edl", "cmx_3600")):
        path = out / f"film.{form}"
        options = ["--media", "prores", "--handles", "4"] if form == "otio" else []
        run("cut", "export", "--project", "Film", "--format", form, "--output", path, *options)
        timeline = otio.adapters.read_from_file(str(path), adapter)
        clips = list(timeline.find_clips())
        assert [clip.name for clip in clips] == list(IDS) and clips[0].source_range.duration.value == 9
        for clip in clips:
            assert (out / unquote(clip.media_reference.target_url)).is_file()
    report = run("cut", "export", "--project", "Film", "--format", "prores", "--output", out / "film.mov")
    with av.open(str(report["path"])) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.codec_context.name, stream.codec_context.pix_fmt) == (18, "prores", "yuv422p10le")

    report = run("export", IDS[0], "--format", "png16", "--output", out / "png")
    with av.open(str(sorted(Path(str(report["path"])).iterdir())[0])) as container:
        assert next(container.decode(video=0)).format.name.startswith("rgb48")

    sounding = [run("sound", "add", job, tone(tmp_path / "a.wav", 1))["clip"] for job in IDS]
    run("cut", "new", "--project", "Film", "--cut", "loud")
    run("cut", "add", "--project", "Film", "--cut", "loud", *sounding)
    report = run("cut", "export", "--project", "Film", "--cut", "loud", "--format", "mp4", "--output", out / "film.mp4")
    with av.open(str(report["path"])) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert picture.frames == 18
        assert float(sound.duration * sound.time_base) == pytest.approx(0.75, abs=0.06)
    with av.open(str(report["path"])) as container:
        assert max(abs(frame.to_ndarray()).max() for frame in container.decode(audio=0)) > 0.05
