"""`queue` as a person or a script runs it: processes of their own, on a tiny real model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.support.commands import ENDLESS, MODEL, PATIENCE, QUICK, command, make_folders, wan
from tests.support.faults.disks import read_only_disk
from tests.support.queues import OpenQueue
from tests.support.requests import make_request
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.jobs.disk_space import NoRoom
from wan_pipeline.jobs.job import JobState
from wan_pipeline.settings import REPOSITORY

CLIP = ["--model", MODEL, *QUICK]
ROW = f"{MODEL},160,128,5,2"
HEADER = "prompt,model,width,height,frames,steps"


@pytest.fixture
def folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    return make_folders(tmp_path, tiny_demo)


def queue(folders: list[str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return wan(*folders, "queue", *arguments)


def add(folders: list[str], *arguments: str | Path) -> list[str]:
    result = queue(folders, "add", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def listed(folders: list[str]) -> list[dict[str, object]]:
    result = queue(folders, "list", "--json")
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.soak
def test_a_file_from_csv_to_clips(folders: list[str], tmp_path: Path) -> None:
    """The whole evening: a list in, and in the morning every job says what became of it."""
    Image.new("RGB", (160, 128), "orange").save(tmp_path / "photo.png")
    (tmp_path / "jobs.csv").write_text(
        f"{HEADER},seed,image\na red ball,{ROW},1,\na blue ball,{ROW},2,photo.png\nthe moon,{ROW},3,\n"
    )
    ids = add(folders, "--file", tmp_path / "jobs.csv", "--project", "night")
    assert [(job["id"], job["state"], job["attempts"]) for job in listed(folders)] == [(i, "queued", 0) for i in ids]
    assert queue(folders, "cancel", ids[2][:8]).returncode == 0
    worked = queue(folders, "work")
    assert (worked.returncode, worked.stderr) == (0, "")
    jobs = {job["id"]: job for job in listed(folders)}
    assert [jobs[job_id]["state"] for job_id in ids] == ["done", "done", "cancelled"]
    for job_id in ids[:2]:
        assert Path(jobs[job_id]["clip"]).parent == tmp_path / "workspace" / "clips"
        assert Path(jobs[job_id]["clip"]).is_file()
        assert len(jobs[job_id]["frames_sha256"]) == 64
        assert (jobs[job_id]["attempts"], jobs[job_id]["error"], jobs[job_id]["project"]) == (1, None, "night")
        assert f"{job_id[:8]}  done" in worked.stdout
    assert queue(folders, "clear").stdout == "3\n"
    assert listed(folders) == []


@pytest.mark.parametrize("wrong", [["--memory-limit", "much"], ["--plan", "tiled"]])
def test_a_wrong_way_to_use_the_device_is_one_line(folders: list[str], wrong: list[str]) -> None:
    result = queue(folders, "work", *wrong)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1) and f"'{wrong[1]}' is no" in result.stderr


@pytest.mark.soak
def test_the_workspace_goes_before_or_after_the_command(folders: list[str], tmp_path: Path) -> None:
    workspace = f"--workspace={tmp_path / 'other'}"
    assert wan("queue", "add", *CLIP, *folders).returncode == 0
    assert wan(*folders, "queue", "add", *CLIP, workspace).returncode == 0
    assert wan(workspace, "queue", *folders[1:], "add", *CLIP).returncode == 0
    assert len(listed(folders)) == 1
    assert len(listed([*folders, workspace])) == 2


def test_work_stops_at_a_paused_queue_and_says_so(folders: list[str], tmp_path: Path) -> None:
    add(folders, *CLIP)
    assert queue(folders, "pause").returncode == 0
    worked = queue(folders, "work")
    assert (worked.returncode, worked.stdout) == (0, "")
    assert "warning: The queue is paused; `queue resume`" in worked.stderr
    assert queue(folders, "resume").returncode == 0
    assert not OpenQueue(tmp_path / "workspace" / "studio.sqlite3").jobs.queue_state().paused


@pytest.mark.soak
def test_what_failed_is_retried(folders: list[str], tmp_path: Path) -> None:
    ids = [add(folders, *CLIP)[0] for _ in range(3)]
    opened = OpenQueue(tmp_path / "workspace" / "studio.sqlite3")
    for job_id in ids:
        opened.worker.claim()
        opened.worker.fail(job_id, "the moon was in the way")
    assert "the moon was in the way" in queue(folders, "list").stdout
    assert queue(folders, "retry", ids[1]).stdout == "1\n"
    assert [job.id for job in opened.jobs.active()] == [ids[1]]
    assert queue(folders, "retry").stdout == "2\n"
    assert [job.id for job in opened.jobs.active()] == [ids[1], ids[0], ids[2]]


def test_a_queue_is_carried_away_as_one_file(folders: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (160, 128), "orange").save(tmp_path / "photo.png")
    add(folders, *CLIP, "--seed", "4", "--image", tmp_path / "photo.png")
    refused = queue(folders, "export", tmp_path / "queue.jsonl")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert queue(folders, "export", tmp_path / "queue.zip").stdout.strip() == str(tmp_path / "queue.zip")
    elsewhere = [*folders, f"--workspace={tmp_path / 'other'}"]
    add(elsewhere, "--file", tmp_path / "queue.zip")
    assert [job["request"] for job in listed(elsewhere)] == [job["request"] for job in listed(folders)]


def test_the_template_is_a_list(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(queue(folders, "template").stdout)
    assert len(add(folders, "--file", tmp_path / "jobs.csv")) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: action"),
        (["add", *CLIP, "--prompt", ""], "The prompt is empty"),
        (["add", "--file", "gone.csv"], "gone.csv cannot be read (No such file"),
        (["add", "--file", "pyproject.toml"], "unknown column '[build-system]'"),
        (["add", "--file", "x.csv", "--seed", "1"], "Options for one clip do not go with --file"),
        (["cancel"], "required: ID, --project NAME or --all"),
        (["cancel", "--all", "--project", "night"], "One of these is required"),
        (["cancel", "beef"], "No job's id begins with 'beef'"),
        (["retry", "beef"], "No job's id begins with 'beef'"),
        (["dance"], "invalid choice: 'dance'"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_user_errors_are_one_line_and_exit_2(arguments: list[str], says: str, folders: list[str]) -> None:
    result = queue(folders, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_bad_rows_are_all_named(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(f"{HEADER}\na,{ROW}\n,{ROW}\nb,{MODEL},161,128,5,2\n")
    result = queue(folders, "add", "--file", tmp_path / "jobs.csv")
    assert (result.returncode, result.stdout) == (2, "")
    assert [line.split(":")[1] for line in result.stderr.splitlines()[:2]] == [
        " Row 3, column prompt",
        " Row 4, column width",
    ]
    assert result.stderr.splitlines()[2].startswith("error: Nothing was queued: 2 of 3 rows")
    skipped = queue(folders, "add", "--file", tmp_path / "jobs.csv", "--skip-bad", "--json")
    assert [json.loads(line)["request"]["prompt"] for line in skipped.stdout.splitlines()] == ["a"]


@pytest.mark.soak
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process")
def test_ctrl_c_gives_the_clip_back(folders: list[str], tmp_path: Path) -> None:
    add(folders, *CLIP, *ENDLESS)
    process = subprocess.Popen(
        command(*folders, "queue", "work"), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        for line in process.stdout:
            if "running" in line:
                break
        (worker,) = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr.read() == "error: stopped; the clip that was being made waits again.\n"
        assert process.wait(PATIENCE) == 130
    assert not worker.is_running()
    (job,) = listed(folders)
    assert (job["state"], job["attempts"]) == ("queued", 0)


def test_a_damaged_database_is_put_right_and_told_on_stderr(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "studio.sqlite3").write_bytes(b"junk" * 2000)
    result = queue(folders, "list")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("warning: The database was damaged")
    assert result.stderr.count("\n") == 1


def test_a_read_only_workspace_is_said(folders: list[str], tmp_path: Path) -> None:
    with read_only_disk(tmp_path / "disk") as disk:
        result = queue([*folders, f"--workspace={disk}"], "list")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "cannot be written to (Read-only file system); choose another folder" in result.stderr


@pytest.mark.soak
def test_work_goes_on_from_a_backup(folders: list[str], tmp_path: Path) -> None:
    """The list was copied when it was queued; the database is damaged while nobody looks, and the clips are made."""
    (tmp_path / "jobs.csv").write_text(f"{HEADER},seed\na red ball,{ROW},1\na blue ball,{ROW},2\n")
    ids = add(folders, "--file", tmp_path / "jobs.csv")
    database = tmp_path / "workspace" / "studio.sqlite3"
    database.write_bytes(database.read_bytes()[:8192] + b"\xaa" * 40_000)
    worked = queue(folders, "work")
    assert worked.returncode == 0
    assert worked.stderr.startswith("warning: The database was damaged")
    assert [(job["id"], job["state"]) for job in reversed(listed(folders))] == [(job_id, "done") for job_id in ids]


@pytest.mark.parametrize("arguments", [["queue", "list"], ["queue", "list", "--json"], ["models"], ["--help"]])
@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_23_a_reader_that_has_enough_ends_a_command_without_traceback(
    arguments: list[str], folders: list[str], tmp_path: Path
) -> None:
    OpenQueue(tmp_path / "workspace" / "studio.sqlite3").editor.submit_many([(make_request(), "")] * 20)
    process = subprocess.Popen(
        command(*folders, *arguments), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        process.stdout.close()  # before it has written a word
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) in (141, 0)  # argparse itself passes over it


@pytest.mark.soak
def test_23_deterministic_clips_by_the_plan_that_a_worker_is_given(folders: list[str], tmp_path: Path) -> None:
    add(folders, *CLIP, "--seed", "1")
    add(folders, *CLIP, "--seed", "1", "--deterministic")
    (tmp_path / "jobs.csv").write_text(f"{HEADER}\na red ball,{ROW}\n")
    add(folders, "--file", tmp_path / "jobs.csv", "--deterministic")
    text = "streamed,int8,chunk=8,text=streamed"
    worked = queue(folders, "work", "--plan", text, "--memory-limit", "8GB")
    assert (worked.returncode, worked.stderr) == (0, "")
    made = [load_receipt(Path(job["clip"])).provenance for job in reversed(listed(folders))]
    assert [provenance.plan for provenance in made] == [text] * 3
    modes = [provenance.environment.get("strict") for provenance in made]
    assert modes[1:] == ["yes", "yes"] and modes[0] != "yes"


def test_23_cancel_a_project_and_all(folders: list[str], tmp_path: Path) -> None:
    opened = OpenQueue(tmp_path / "workspace" / "studio.sqlite3")
    rows = [(make_request(), project) for project in ("night", "night", "day", "")]
    _, held, day, none = opened.editor.submit_many(rows)
    opened.editor.pause(held)
    assert queue(folders, "cancel", "--project", "night").stdout == "2\n"
    assert {job.id for job in opened.jobs.active()} == {day, none}
    assert queue(folders, "cancel", "--all").stdout == "2\n"
    assert opened.jobs.counts()[JobState.CANCELLED] == 4
    assert queue(folders, "cancel", "--project", "night").stdout == "0\n"


def test_23_a_queue_that_waits_for_room_says_so(folders: list[str], tmp_path: Path) -> None:
    opened = OpenQueue(tmp_path / "workspace" / "studio.sqlite3")
    job_id = opened.editor.submit(make_request())
    opened.worker.claim()
    opened.worker.wait_for_room(job_id, NoRoom("The disk is full.", (str(tmp_path),), 1))
    listing = queue(folders, "list")
    assert "warning: The queue waits for room. The disk is full. It goes on by itself" in listing.stderr
    assert opened.jobs.has_work()
    assert queue(folders, "resume").returncode == 0
    assert opened.jobs.queue_state().no_room is None and not opened.jobs.queue_state().paused
