"""`export` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_clips import MODEL, QUICK
from wan_pipeline.cli import main


@pytest.fixture
def folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    """Options that keep a command inside `tmp_path`, but for the presets."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / MODEL).symlink_to(tiny_demo, target_is_directory=True)
    return [f"--{name}={tmp_path / name.split('-')[0]}" for name in ("workspace", "models-folder", "loras-folder")]


def test_export_prints_one_object(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, sequence = str(tmp_path / "a.mp4"), tmp_path / "out" / "shot"
    assert main([*folders, "generate", "--model", MODEL, *QUICK, "--output", clip]) == 0
    capsys.readouterr()
    order = ["--format", "png16", "--output", str(sequence), "--fps", "23.976", "--handles", "2", "--json"]
    assert main([*folders, "export", clip, *order]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out.splitlines()[-1])
    assert report["path"] == str(sequence) and len(list(sequence.iterdir())) == report["frames"] == 9
    assert (report["bits"], report["fps"], report["from_latents"]) == (16, "24000/1001", True)
    assert "decoding" in printed.err
    assert main([*folders, "export", clip, *order]) == 2
    assert "name a new folder" in capsys.readouterr().err
    assert main([*folders, "export", "nothing", *order]) == 2
    assert "There is no clip 'nothing'" in capsys.readouterr().err


@pytest.mark.soak
def test_latents_are_left_out_by_an_option(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, made = str(tmp_path / "a.mp4"), tmp_path / "a.mov"
    assert main([*folders, "generate", "--model", MODEL, *QUICK, "--no-keep-latents", "--output", clip]) == 0
    assert not (tmp_path / "a.latents").exists()
    assert main([*folders, "export", clip, "--for", "premiere", "--output", str(made), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["from_latents"] is False
    assert "8 bits" in printed.err and made.is_file()
