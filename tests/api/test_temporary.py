"""Gradio's temporary files are of one app, so that none deletes what another one shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wan_pipeline.api.temporary import VARIABLE, own_temporary_files


def test_each_app_has_its_own_folder_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "elsewhere")
    with own_temporary_files(tmp_path / "cache"):
        first = Path(os.environ[VARIABLE])
        with own_temporary_files(tmp_path / "cache"):
            second = Path(os.environ[VARIABLE])
            assert first != second and first.is_dir() and second.is_dir()
        assert first.is_dir() and not second.exists()
    assert not first.exists()


def test_what_a_killed_app_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left, alive, other = (tmp_path / name for name in (f"gradio-{ended.pid}-a1", f"gradio-{os.getpid()}-b2", "share"))
    for folder in (left, alive, other):
        folder.mkdir()
    with own_temporary_files(tmp_path):
        assert (left.exists(), alive.exists(), other.exists()) == (False, True, True)
