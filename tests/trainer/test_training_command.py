"""`wan-studio train`: what it reports, how it is stopped and goes on, and its options."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.commands import MODEL, make_folders, started, wan
from wan_pipeline.cli import main
from wan_pipeline.cli.training_line import TrainingLine
from wan_pipeline.errors import Cancelled
from wan_pipeline.trainer import run as run_module
from wan_pipeline.trainer.loop import Loop
from wan_pipeline.trainer.request import TrainingRequest

REPORTED = ["lora", "files", "steps", "loss", "validation_loss", "validation", "best_step", "hint", "checkpoints"]


REPORTED += ["seconds", "peak_memory_gib", "sha256"]


def cancel(*_: object) -> None:
    raise Cancelled("The training was cancelled.")


@pytest.mark.soak  # above the same in one process
def test_killed_and_interrupted_commands_go_on_where_they_were(pictures: Path, tmp_path: Path, tiny_demo: Path) -> None:
    (tmp_path / "few").mkdir()
    for number in range(2):
        shutil.copy(pictures / f"{number}.png", tmp_path / "few")
    folders = make_folders(tmp_path, tiny_demo)
    options = [*folders, "--model", MODEL, "--dataset", tmp_path / "few", "--rank", "2", "--steps", "6", "--json"]
    with started(tmp_path, "train", *options, "--output", "parts") as (process, stderr):
        for line in stderr:
            if line.startswith("training 1/"):
                os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    killed = wan("train", *options, "--output", "parts", "--resume", WAN_STUDIO_CRASH="checkpoint-saved:1")
    assert killed.returncode == -signal.SIGKILL
    resumed, whole = (
        wan("train", *options, *more) for more in (("--output", "parts", "--resume"), ("--output", "whole"))
    )
    reports = [json.loads(done.stdout.splitlines()[-1]) for done in (whole, resumed)]
    assert reports[0]["sha256"] == reports[1]["sha256"]
    assert list(reports[0]) == REPORTED
    assert Path(reports[1]["lora"]) == tmp_path / "loras" / "parts.safetensors"
    assert "training 6/6, loss " in resumed.stderr


def test_the_command_reports_as_json_and_says_where_it_was_stopped(
    pictures: Path, tiny_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(pictures / "1.png", tmp_path / "one")
    folders = make_folders(tmp_path, tiny_demo)
    asked = ["train", *folders, "--model", MODEL, "--dataset", str(tmp_path / "one"), "--steps", "1", "--rank", "2"]
    assert main([*asked, "--output", "done", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])) == REPORTED
    monkeypatch.setattr(TrainingLine, "cancelled", lambda _: True)
    assert main([*asked, "--output", "early"]) == 130
    assert "stopped; nothing was trained yet." in capsys.readouterr().err
    monkeypatch.undo()
    do_step = Loop.do_step
    monkeypatch.setattr(Loop, "do_step", lambda loop, turns: cancel() if loop.steps_done else do_step(loop, turns))
    assert main([*asked, "--steps", "2", "--output", "later"]) == 130
    assert "stopped; the same command with --resume goes on." in capsys.readouterr().err


def test_every_option_of_the_command_reaches_the_training(
    pictures: Path, tiny_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrainingRequest] = []

    def foreseen(request: TrainingRequest, *_: object) -> str:
        asked.append(request)
        return ""

    monkeypatch.setattr(run_module, "forecast_training", foreseen)
    changed = {
        "recipe": "motion-quick",
        "trigger": "wug",
        "regularisation": pictures,
        "regularisation_clips": 3,
        "steps": 5,
        "rank": 7,
        "learning_rate": 0.01,
        "accumulation": 2,
        "caption_dropout": 0.3,
        "optimizer": "adamw8bit",
        "seed": 9,
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changed.items()]
    flags = ["--resume", "--deterministic", "--forecast"]
    folders = make_folders(tmp_path, tiny_demo)
    assert main(["train", *folders, "--dataset", str(pictures), "--output", "all", *options, *flags]) == 0
    wanted = TrainingRequest(pictures, "all", resume=True, deterministic=True, **changed)
    assert asked == [wanted]
    plain = TrainingRequest(pictures, "all")
    assert not [name for name in changed if getattr(plain, name) == getattr(wanted, name)]
