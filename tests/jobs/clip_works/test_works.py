"""Works on finished clips: in order, stopped, begun again after a kill, and those that follow a final."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import av
import pytest

from tests.support.observers import Recorder
from tests.support.studios import QUICK, wait_for
from wan_pipeline.cli import main
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.clip_works import process, rows, works
from wan_pipeline.jobs.clip_works.process import run_all
from wan_pipeline.jobs.clip_works.rows import MAX_DEATHS
from wan_pipeline.jobs.clip_works.work import ClipWork, WorkKind, WorkOrder, WorkState
from wan_pipeline.jobs.job import Finished
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.projects.project import FinalProfile, Project
from wan_pipeline.requests.post_processing import PostProcessing
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.studio import Studio

TWICE = PostProcessing(upscale=2)
SMOOTH = WorkOrder(WorkKind.FRAMES, PostProcessing(interpolate=2))
FILM = Project("film", "Film", final=FinalProfile(num_inference_steps=1, upscale=2, interpolate=2))


@pytest.fixture
def clip_ids(studio: Studio) -> list[str]:
    """Two clips."""
    for seed in (1, 2):
        studio.in_process.render(replace(QUICK, num_inference_steps=1, seed=seed), None, Recorder())
    studio.gallery.rescan()
    return [clip.id for clip in studio.gallery.of_project("")]


def state_of(studio: Studio, clip_id: str) -> ClipWork:
    work = studio.clip_works.of(clip_id)
    assert work is not None
    return work


def shape(path: str | None) -> tuple[int, int, int]:
    """Width, height and frames."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return frames[0].width, frames[0].height, len(frames)


def add(studio: Studio, clip_id: str, order: WorkOrder) -> None:
    """Queue it without a process."""
    with Database(studio.settings.database).transaction() as connection:
        rows.add(connection, clip_id, order)


@pytest.mark.soak
def test_one_after_another(studio: Studio, clip_ids: list[str]) -> None:
    first, second = clip_ids
    add(studio, first, WorkOrder(WorkKind.FRAMES, TWICE))
    add(studio, second, SMOOTH)
    with pytest.raises(UserError, match="already"):
        studio.clip_works.start(second, SMOOTH)
    assert run_all(studio.settings) == 2
    names = [Path(state_of(studio, each).file or "").name.rpartition("_")[2] for each in clip_ids]
    assert names == ["x2.mp4", "smooth2.mp4"]
    assert shape(state_of(studio, first).file) == (320, 320, 5)
    assert shape(state_of(studio, second).file) == (160, 160, 9)
    assert studio.clip_works.unfinished() == [] and list(studio.clip_works.run_all()) == []
    work = state_of(studio, first)
    assert work.seconds > 0 and work.pixels == 320 * 320 * 5


@pytest.mark.soak
def test_a_clip_that_is_gone_fails_and_the_next_is_worked_on(studio: Studio, clip_ids: list[str]) -> None:
    binned, other = clip_ids
    add(studio, binned, SMOOTH)
    add(studio, "nowhere", SMOOTH)
    add(studio, other, SMOOTH)
    studio.gallery.bin([binned])
    assert run_all(studio.settings) == 3
    assert [state_of(studio, each).state for each in (binned, "nowhere", other)] == ["failed", "failed", "done"]
    assert "not in the gallery" in (state_of(studio, binned).error or "")


@pytest.mark.soak
def test_what_waits_is_stopped_at_once_and_what_runs_after_its_frame(
    studio: Studio, clip_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = clip_ids
    add(studio, first, WorkOrder(WorkKind.FRAMES, TWICE))
    add(studio, second, SMOOTH)
    real = process.post_process

    def stopped_meanwhile(*arguments: object) -> object:
        assert state_of(studio, first).state is WorkState.WORKING
        studio.clip_works.stop(first)
        assert state_of(studio, first).state is WorkState.WORKING, "until it has heard of it"
        studio.clip_works.stop_all()
        assert state_of(studio, second).state is WorkState.STOPPED
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "post_process", stopped_meanwhile)
    run_all(studio.settings)
    assert [state_of(studio, each).state for each in clip_ids] == ["stopped", "stopped"]
    assert not list(studio.settings.exports.rglob("*.mp4"))


@pytest.mark.soak
def test_a_work_that_kills_every_process_fails_and_the_next_is_done(
    studio: Studio, clip_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when memory runs out while its network is loaded."""
    deadly, harmless = clip_ids
    add(studio, deadly, WorkOrder(WorkKind.FRAMES, TWICE))
    add(studio, harmless, SMOOTH)
    real = process.post_process

    def dies(clip: Path, wanted: PostProcessing, *others: object) -> object:
        if wanted == TWICE:
            raise MemoryError
        return real(clip, wanted, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "post_process", dies)
    for _ in range(MAX_DEATHS):
        with pytest.raises(MemoryError):
            run_all(studio.settings)
    assert run_all(studio.settings) == 1
    assert "ended unexpectedly 2 times" in (state_of(studio, deadly).error or "")
    assert state_of(studio, harmless).state is WorkState.DONE


def test_a_process_that_was_stopped_on_purpose_did_not_die(studio: Studio, clip_ids: list[str]) -> None:
    database = Database(studio.settings.database)
    add(studio, clip_ids[0], SMOOTH)
    for _ in range(MAX_DEATHS + 1):
        with database.transaction() as connection:
            claimed = rows.claim(connection, "works.log")
            assert claimed is not None and claimed.deaths == 0
            rows.write(connection, claimed.number, replace(claimed.work, state=WorkState.WORKING))
            rows.give_back(connection)


def test_works_fail_when_no_process_can_start(
    studio: Studio, clip_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "MODULE", "wan_pipeline.no_such_module")
    add(studio, clip_ids[0], SMOOTH)
    (failed,) = studio.clip_works.run_all()
    assert "cannot start (exit status 1)" in (failed.error or "") and "clip_work.log" in (failed.error or "")
    assert "no_such_module" in works.works_log(studio.settings).read_text(encoding="utf-8")


def test_a_row_that_cannot_be_read_fails_alone(studio: Studio, clip_ids: list[str]) -> None:
    database = Database(studio.settings.database)
    for clip_id in clip_ids:
        add(studio, clip_id, SMOOTH)
    with database.transaction() as connection:
        connection.execute("UPDATE clip_works SET work = ? WHERE clip_id = ?", ('{"state": "dancing"}', clip_ids[0]))
    assert run_all(studio.settings) == 1
    assert "cannot be read" in (state_of(studio, clip_ids[0]).error or "")
    assert state_of(studio, clip_ids[1]).state is WorkState.DONE


# After a final


def test_what_the_final_profile_says_follows_the_final(studio: Studio, tmp_path: Path) -> None:
    copies = tmp_path / "delivery"
    studio.projects.create(replace(FILM, output=str(copies)))
    draft = replace(QUICK, num_inference_steps=None)
    plain, final = studio.submit(draft, "film"), studio.submit(draft, "film", profile="final")
    Worker(studio.settings).run()
    assert studio.clip_works.of(plain) is None, "only finals"
    (waiting,) = studio.clip_works.unfinished()
    assert waiting.order == WorkOrder(WorkKind.FRAMES, PostProcessing(2, 2), copy_to=str(copies))
    run_all(studio.settings)
    work, clip = state_of(studio, final), studio.gallery.clip(final)
    assert work.state is WorkState.DONE and work.warnings[1:] == (), work
    assert Path(work.file or "").name == f"{clip.path.stem}_x2_smooth2.mp4"
    assert shape(work.file) == (320, 320, 9)
    assert [path.name for path in copies.rglob("*_x2_smooth2.mp4")] == [f"{clip.path.stem}_x2_smooth2.mp4"]


def test_a_final_made_again_is_followed_again_and_an_adopted_one_too(studio: Studio) -> None:
    studio.projects.create(FILM)
    first = studio.submit(QUICK, "film", profile="final")
    again = studio.queue_again(first)
    assert studio.jobs.existing(again).post_processing == PostProcessing(2, 2)
    Worker(studio.settings).run()
    clip = studio.gallery.clip(first)
    assert len(studio.clip_works.unfinished()) == 2
    third = studio.queue_again(first)
    made = Finished(clip.request, clip.path, clip.path, clip.path, "0", {})
    WorkerQueue(Database(studio.settings.database), studio.jobs).adopt(third, made)
    assert len(studio.clip_works.unfinished()) == 3


@pytest.mark.soak
def test_how_long_it_takes_is_told_once_it_is_known(studio: Studio) -> None:
    studio.projects.create(FILM)
    clips = studio.project_clips
    request = studio.requests.resolve(QUICK)
    job = clips.job(request, "film")
    assert studio.clip_works.told([job]) == ""
    final = job._replace(post_processing=FILM.final.post_processing)
    what = "; then frames 2 times as large and 2 times as many, "
    assert studio.clip_works.told([job, final]) == f"{what}how long is not known yet"
    studio.submit(QUICK, "film", profile="final")
    Worker(studio.settings).run()
    run_all(studio.settings)
    assert studio.clip_works.told([job, final]).startswith(f"{what}about ")


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_an_open_app_starts_the_process_and_another_after_a_kill(studio: Studio, clip_ids: list[str]) -> None:
    def poll() -> None:
        for task in studio._supervisor.tasks:
            task()

    add(studio, clip_ids[0], SMOOTH)
    poll()
    child = studio.clip_works._child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not state_of(studio, clip_ids[0]).is_over
    wait_for(lambda: poll() or state_of(studio, clip_ids[0]).is_over, "the work of another process")
    assert state_of(studio, clip_ids[0]).state is WorkState.DONE


@pytest.mark.soak
def test_queue_work_does_them_in_a_process_of_their_own(
    settings: Settings, studio: Studio, clip_ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    add(studio, clip_ids[0], SMOOTH)
    add(studio, "nowhere", SMOOTH)
    assert main(["queue", "--workspace", str(settings.workspace), "work"]) == 0
    made, gone = capsys.readouterr().out.splitlines()[-2:]
    assert made.endswith("_smooth2.mp4") and shape(made) == (160, 160, 9)
    assert gone.startswith("error: The clip is not in the gallery")


def test_the_command_line_sets_it(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--workspace", str(settings.workspace)]
    given = ["--final", "steps=1", "--final", "upscale=2", "--final", "upscaler=mine"]
    assert main(["projects", *folders, "create", "Film", *given, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["final"] == {"num_inference_steps": 1, "upscale": 2, "upscaler": "mine"}
    for wrong, sentence in (
        ("upscale=5", "upscale"),
        ("interpolate=3", "interpolate"),
        ("upscale=large", "'large' is not a whole number"),
        ("upscaling=2", "no setting of a final profile"),
    ):
        assert main(["projects", *folders, "edit", "Film", "--final", wrong]) == 2
        assert sentence in capsys.readouterr().err, wrong
    assert main(["projects", *folders, "edit", "Film", "--draft", "upscale=2"]) == 2
    assert "no setting of a draft profile" in capsys.readouterr().err
