"""The command line as a person or a script runs it: a process of its own, on a tiny real model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import pytest
from PIL import Image

from tests.support.commands import ENDLESS, MODEL, PATIENCE, QUICK, make_folders, program, started, wan
from tests.support.faults.disks import read_only_disk, small_disk
from tests.support.requests import Silence
from wan_pipeline.clips.read import read_receipt
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


@pytest.fixture
def folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    return make_folders(tmp_path, tiny_demo)


def generate(folders: list[str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return wan("generate", *folders, "--model", MODEL, *arguments)


def test_help_answers_at_once() -> None:
    started = time.monotonic()
    result = program("--help")
    assert time.monotonic() - started < 1.5
    assert (result.returncode, result.stderr) == (0, "")
    assert "generate" in result.stdout


def test_a_clip_with_json(folders: list[str], tmp_path: Path) -> None:
    clip = tmp_path / "new folder" / "out.mp4"
    result = program(
        *("generate", *folders, "--model", MODEL, *QUICK, "--seed", "7", "--fps", "8", "--output", clip, "--json")
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    known = ["clip", "seed", "width", "height", "frames", "fps", "seconds", "frames_sha256", "request"]
    assert list(report) == [*known, "warnings", "loras"]
    assert report["loras"] == [] and result.stderr.count("warning: ") == len(report["warnings"])
    assert report["clip"] == str(clip)
    assert [report[key] for key in ("seed", "width", "height", "frames", "fps")] == [7, 160, 128, 5, 8]
    assert 0 < report["seconds"] < PATIENCE
    receipt = read_receipt(clip)
    assert receipt["frames_sha256"] == report["frames_sha256"]
    assert receipt["request"] == report["request"]
    assert GenerationRequest.from_dict(report["request"]).prompt == "a red ball"
    assert json.loads(clip.with_suffix(".json").read_text(encoding="utf-8")) == receipt
    assert sorted(path.suffix for path in clip.parent.iterdir()) == [".json", ".latents", ".mp4", ".webp"]
    for word in ("encoding text", "denoising", "decoding", "saving"):
        assert word in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("output", [["--json"], []])
def test_any_alphabet_goes_through_any_terminal(output: list[str], folders: list[str]) -> None:
    """As in Windows, where what goes into a file or a pipe is written in the code of the country."""
    arguments = ["generate", *folders, "--model", MODEL, *QUICK, "--prompt", "一个红球", *output]
    result = wan(*arguments, PYTHONIOENCODING="cp1252")
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert (json.loads(last)["request"]["prompt"] == "一个红球") if output else last.endswith(".mp4")


@pytest.mark.soak
def test_an_image_gives_the_same_frames_in_another_process(folders: list[str], tmp_path: Path) -> None:
    Image.linear_gradient("L").convert("CMYK").save(tmp_path / "in.jpg")
    result = generate(folders, *QUICK, "--image", tmp_path / "in.jpg", "--seed", "3", "--json")
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["request"]["mode"] == Mode.IMAGE_TO_VIDEO
    assert Path(report["clip"]).parent == tmp_path / "workspace" / "clips"
    with Studio(Settings(workspace=tmp_path / "workspace", models=tmp_path / "models")) as studio:
        draft = Draft("a red ball", tmp_path / "in.jpg", MODEL, seed=3, width=160, height=128, num_frames=5)
        again = studio.in_process.render(replace(draft, num_inference_steps=2), None, Silence())
    assert again.frames_sha256 == report["frames_sha256"]
    assert str(again.clip) != report["clip"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prompt", ""], "The prompt is empty"),
        (["--prompt", "x" * 100_000], "100,000 characters"),
        (["--prompt", "a\x1b[31mb"], "control character"),
        ([*QUICK, "--width", "wide"], "The width 'wide' is not a whole number"),
        ([*QUICK, "--width", "161"], "not a multiple of 32"),
        ([*QUICK, "--frames", "34"], "use 33 or 37"),
        ([*QUICK, "--frames", "1e3"], "The frames '1e3' is not a whole number"),
        ([*QUICK, "--steps", "0"], "Steps 0 is out of range"),
        ([*QUICK, "--seed", "-2"], "Seed -2 is out of range"),
        ([*QUICK, "--seed", "9" * 5000], "is not a whole number"),
        ([*QUICK, "--guidance", "nan"], "Guidance nan is out of range"),
        ([*QUICK, "--guidance", "high"], "The guidance 'high' is not a number"),
        ([*QUICK, "--flow-shift", "0"], "Flow shift 0"),
        ([*QUICK, "--scheduler", "magic"], "'magic' is not known"),
        ([*QUICK, "--model", "wan9"], "no model 'wan9'"),
        ([*QUICK, "--preset", "wan9"], "no preset 'wan9'"),
        ([*QUICK, "--lora", "ghost=1"], "no LoRA 'ghost'"),
        ([*QUICK, "--lora", "ghost=much"], "The weight of LoRA 'ghost' 'much' is not a number"),
        ([*QUICK, "--image", "gone.png"], "gone.png is not there"),
        ([*QUICK, "--image", "pyproject.toml"], "not a picture"),
        ([*QUICK, "--output", "clip.avi"], "ends in .mp4"),
        ([*QUICK, "--shutter", "1"], "nrecognized arguments: --shutter 1"),
        ([*QUICK, "--seed"], "expected one argument"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_user_errors_are_one_line_and_exit_2(arguments: list[str], says: str, folders: list[str]) -> None:
    result = generate(folders, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_command_and_a_wrong_one() -> None:
    for arguments in ([], ["degenerate"]):
        result = wan(*arguments)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert result.stderr.startswith("error: ")


def test_folders_that_refuse(folders: list[str], tmp_path: Path) -> None:
    with read_only_disk(tmp_path / "disk") as disk:
        result = generate(folders, *QUICK, "--output", disk / "a.mp4")
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert f"error: The folder {disk} cannot be written to" in result.stderr
    with small_disk(tmp_path / "disk", "1m") as disk:
        result = generate(folders, *QUICK, "--output", disk / "a.mp4")
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert f"error: The folder {disk} has 1.0 MB free" in result.stderr
        assert list(disk.iterdir()) == []
    (tmp_path / "taken").write_text("a file")
    result = generate(folders, *QUICK, f"--workspace={tmp_path / 'taken'}")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


@pytest.mark.soak
def test_a_disk_that_fills_while_saving(folders: list[str], tmp_path: Path) -> None:
    """Room enough at the start; a stranger takes it while the clip is made."""
    with small_disk(tmp_path / "disk", "40m") as disk:
        arguments = ("generate", *folders, "--model", MODEL, "--output", disk / "a.mp4", *QUICK, "--steps", "30")
        with started(tmp_path, *arguments) as (process, stderr):
            wait_for_line(stderr, "denoising")
            try:
                with (disk / "ballast").open("wb") as ballast:
                    while True:
                        ballast.write(bytes(4096))
            except OSError:
                pass
            rest = stderr.read()
            assert process.wait(PATIENCE) == 2
        assert rest.splitlines()[-1].startswith(f"error: The disk of the folder {disk} is full; free some space")
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_ctrl_c_exits_130_and_leaves_nothing(folders: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out" / "a.mp4"
    arguments = ("generate", *folders, "--model", MODEL, *ENDLESS, "--output", output)
    with started(tmp_path, *arguments) as (process, stderr):
        wait_for_line(stderr, "denoising")
        os.kill(process.pid, signal.SIGINT)
        rest = stderr.read()
        assert process.wait(PATIENCE) == 130
    assert rest.splitlines()[-1] == "error: stopped; no clip was written."
    assert "Traceback" not in rest
    assert list((tmp_path / "out").iterdir()) == []


def wait_for_line(stderr: TextIO, word: str) -> None:
    read = ""
    for line in stderr:
        read += line
        if word in line:
            return
    pytest.fail(f"it ended without '{word}': {read}")
