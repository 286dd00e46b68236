"""Exporting for the page: it waits for the queue, and its end is known."""

from __future__ import annotations

import zipfile
from pathlib import Path

import av
import pytest

from tests.support.hostile import BAD_JSON
from tests.support.observers import Recorder
from tests.support.studios import wait_for
from wan_pipeline.clips.export.formats import find_format
from wan_pipeline.clips.naming import key_of, latents_path
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background import exports
from wan_pipeline.jobs.background.exports import ExportState, PageExport, export_when_idle
from wan_pipeline.jobs.training.process import device_is_wanted
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio

DRAFT = Draft(prompt="the red ball", width=160, height=160, num_frames=5, num_inference_steps=2, seed=1)


@pytest.fixture
def clip(studio: Studio) -> Path:
    return studio.in_process.render(DRAFT, None, Recorder()).clip


def test_a_video_goes_to_the_folder_of_exports(studio: Studio, clip: Path) -> None:
    end = export_when_idle(studio.settings, clip, find_format("prores"))
    assert (end.state, end.from_latents, end.warnings) == (ExportState.DONE, True, ())
    assert studio.exports.of(clip) == end and end.file is not None
    assert Path(end.file).parent == studio.settings.exports
    with av.open(end.file) as container:
        assert container.streams.video[0].frames == 5


def test_without_latents_it_waits_for_nothing(studio: Studio, clip: Path) -> None:
    """Nor does a training give way to it."""
    latents_path(clip).unlink()
    studio.submit(DRAFT)
    with WorkspaceLocks(studio.settings.workspace).device():
        end = export_when_idle(studio.settings, clip, find_format("prores"))
    assert (end.state, end.from_latents) == (ExportState.DONE, False)


@pytest.mark.soak
def test_trainings_give_way_to_it_only_while_it_needs_the_device(
    studio: Studio, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = WorkspaceLocks(studio.settings.workspace)
    wanted: list[bool] = []
    make = exports._export
    monkeypatch.setattr(
        exports, "_export", lambda *rest: wanted.append(device_is_wanted(studio.jobs, locks)) or make(*rest)
    )
    with locks.exporter(), locks.cut_exporter():
        export_when_idle(studio.settings, clip, find_format("prores"))
        wanted.append(device_is_wanted(studio.jobs, locks))
    assert wanted == [True, False]


@pytest.mark.soak
def test_a_sequence_becomes_one_file(studio: Studio, clip: Path) -> None:
    end = export_when_idle(studio.settings, clip, find_format("png16"))
    assert end.file is not None and end.file.endswith("_png16.zip")
    with zipfile.ZipFile(end.file) as archive:
        assert archive.testzip() is None and len(archive.namelist()) == 5
        assert archive.namelist()[0] == f"{clip.stem}/{clip.stem}.1001.png"


def test_what_goes_wrong_is_told(studio: Studio, clip: Path) -> None:
    end = export_when_idle(studio.settings, clip, find_format("dnxhr"))
    assert end.state is ExportState.FAILED and "256 x 120" in (end.error or "")
    assert studio.exports.of(clip) == end


@pytest.mark.soak
def test_one_at_a_time_in_a_process_of_its_own(studio: Studio, clip: Path) -> None:
    with WorkspaceLocks(studio.settings.workspace).exporter(), pytest.raises(UserError, match="is being exported"):
        studio.exports.start(clip, find_format("png8"))
    studio.exports.start(clip, find_format("png8"))

    def end() -> PageExport | None:
        state = studio.exports.of(clip)
        return state if state is not None and state.is_over else None

    wait_for(end, "the export")
    state = end()
    assert state is not None and state.state is ExportState.DONE, state


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_state_file_that_cannot_be_read_is_none(studio: Studio, text: bytes) -> None:
    clip = studio.settings.clips / "a.mp4"
    path = studio.settings.cache / "exported" / f"{key_of(clip, studio.settings.clips)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    assert studio.exports.of(clip) is None
