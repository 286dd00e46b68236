"""Temporary folders are of one process, so that none deletes what another one shows, and none stays for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wan_pipeline.storage.temporary import remove_left_over, temporary_folder


def test_each_has_its_own_folder_while_it_runs(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "cache", "gradio") as first:
        with temporary_folder(tmp_path / "cache", "gradio") as second:
            assert first != second and Path(first).is_dir() and Path(second).is_dir()
            remove_left_over(tmp_path / "cache")
            assert Path(first).is_dir()
        assert Path(first).is_dir() and not Path(second).exists()
    assert not Path(first).exists()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    names = (f"gradio-{ended.pid}-a1", f"uploads-{ended.pid}-a1", f"api-{os.getpid()}-b2", "share", "import-x")
    for name in names:
        (tmp_path / name).mkdir()
    remove_left_over(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[2:])
