"""Sound that a model makes: a new clip that tells how, on the command line and in the process of the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.models.sounds import write_ace_step
from tests.support.observers import Recorder
from wan_pipeline.cli import main
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.clips.sound.listen import loudness, sound_sha256
from wan_pipeline.errors import Cancelled, ModelError, RequestError
from wan_pipeline.jobs import device
from wan_pipeline.jobs.background import when_idle
from wan_pipeline.jobs.clip_works.process import run_all
from wan_pipeline.jobs.clip_works.work import WorkKind, WorkOrder, WorkState
from wan_pipeline.jobs.handover import sound
from wan_pipeline.jobs.handover.sound import SoundDraft, resolve_for_clip
from wan_pipeline.models.sound.registry import ACE_STEP
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.locks import WorkspaceLocks, any_is_held
from wan_pipeline.studio import Studio

DRAFT = Draft(prompt="the red ball", width=160, height=160, num_frames=9, num_inference_steps=1, fps=16, seed=1)


@pytest.fixture(scope="module")
def ace_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ace_step(tmp_path_factory.mktemp("sound") / ACE_STEP.id)


@pytest.fixture
def clip(studio: Studio, ace_step: Path) -> Path:
    """In a studio that has a model for sound."""
    (studio.settings.models / ACE_STEP.id).symlink_to(ace_step, target_is_directory=True)
    made = studio.in_process.render(DRAFT, None, Recorder()).clip
    studio.gallery.rescan()
    return made


@pytest.mark.soak
def test_on_the_command_line(studio: Studio, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--workspace", str(studio.settings.workspace), "--models-folder", str(studio.settings.models)]
    arguments = ["sound", "make", str(clip), "--prompt", "a calm sea", "--seed", "7", "--loudness", "-23", "--json"]
    assert main([*folders, *arguments]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    new = Path(report["clip"])
    assert new != clip and clip.is_file() and report["sound_sha256"] == sound_sha256(new)
    assert (report["model"], report["licence"], report["seed"], report["seconds"]) == (ACE_STEP.id, "MIT", 7, 0.5625)
    assert report["lufs"] == pytest.approx(loudness(new), abs=0.06)
    made = load_receipt(new).sound
    assert made is not None and made.made is not None
    assert (made.made.prompt, made.made.seed, made.made.licence) == ("a calm sea", 7, "MIT")
    assert load_receipt(new).frames_sha256 == load_receipt(clip).frames_sha256
    assert main([*folders, "show", str(new)]) == 0
    shown = capsys.readouterr().out
    assert "ace-step-1.5-xl-turbo from 'a calm sea', seed 7" in shown and "sound licence" in shown
    assert main([*folders, *arguments, "--output", str(new.with_name("again.mp4"))]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["sound_sha256"] == report["sound_sha256"]


def test_what_cannot_be_is_refused(studio: Studio, clip: Path) -> None:
    for draft, error, words in (
        (SoundDraft(" "), RequestError, "There is no prompt"),
        (SoundDraft("a", seconds=601.0), RequestError, "choose 0.5 to 600 s"),
        (SoundDraft("a", seed=-1), RequestError, "The seed -1"),
        (SoundDraft("a", "demo"), ModelError, "no model for sound 'demo'"),
        (SoundDraft("a", "stable-audio-3-medium"), ModelError, "convert it by the script"),
        (SoundDraft("a", "longcat-audiodit-1b"), ModelError, "models download longcat-audiodit-1b"),
    ):
        with pytest.raises(error, match=words):
            resolve_for_clip(clip, draft, studio.models)


@pytest.mark.soak
def test_in_the_process_of_the_page(studio: Studio, clip: Path) -> None:
    clip_id = studio.gallery.at(clip).id
    studio.clip_works.start(clip_id, WorkOrder(WorkKind.SOUND, sound=SoundDraft("the sea", seed=3), lufs=-16.0))
    assert run_all(studio.settings) == 1
    end = studio.clip_works.of(clip_id)
    assert end and end.state is WorkState.DONE and end.file is not None
    new = studio.gallery.clip(end.clip)  # the gallery has it without another look at the folder
    assert new.path == Path(end.file) and new.request.prompt == "the red ball"
    studio.clip_works.start(clip_id, WorkOrder(WorkKind.SOUND, sound=SoundDraft("")))
    run_all(studio.settings)
    failed = studio.clip_works.of(clip_id)
    assert failed and failed.state is WorkState.FAILED and "no prompt" in (failed.error or "")


@pytest.mark.soak
def test_it_gives_up_the_wait_for_the_device_when_it_is_stopped(
    studio: Studio, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped only after ten minutes while a LoRA was trained."""
    locks, looks = WorkspaceLocks(studio.settings.workspace), iter((False, False, True, True))
    monkeypatch.setattr(when_idle, "QUEUE_POLL_SECONDS", 0.01)
    monkeypatch.setattr(device, "POLL_SECONDS", 0.01)
    with locks.device():
        with pytest.raises(Cancelled, match="stopped"):
            when_idle.when_idle(studio.settings, Recorder().progress, lambda _: None, lambda: next(looks))
        with pytest.raises(Cancelled):
            sound.make_now(clip, SoundDraft("a sea"), studio.settings, Recorder(stop_at=(Stage.QUEUED, 0)))
    assert not any_is_held(locks.device_guests()), "given back"
