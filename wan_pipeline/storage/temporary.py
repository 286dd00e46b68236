"""Folders that go with the process that made them; what a killed one left is removed by the next that starts."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

_NAME = re.compile(r"[a-z]+-(?P<process>\d+)-\w+")


def temporary_folder(parent: Path, kind: str) -> TemporaryDirectory[str]:
    """A folder in `parent`, removed at the end of its block. `kind` is a word for its name. Raises OSError."""
    parent.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(prefix=f"{kind}-{os.getpid()}-", dir=parent, ignore_cleanup_errors=True)


def remove_left_over(parent: Path) -> None:
    """The folders of processes that have ended without removing them."""
    for folder in parent.glob("*-*-*"):
        found = _NAME.fullmatch(folder.name)
        if found and not psutil.pid_exists(int(found["process"])):
            shutil.rmtree(folder, ignore_errors=True)
