"""Real disks for tests: a small one to fill, one that cannot be written to, and what a failing one leaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of `size` as mount(8) reads it ("1m"). Skips the test where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux to mount a small disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def read_only_disk(folder: Path) -> Iterator[Path]:
    """A file system that nobody, root included, can write to. Skips the test where none may be mounted."""
    with small_disk(folder, "1m"):
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield folder


def spoil(database: Path) -> None:
    """Overwrite the middle of the file, as a failing disk does; its first page stays whole."""
    content = bytearray(database.read_bytes())
    content[8192:-4096] = b"\xaa" * (len(content) - 12288)
    database.write_bytes(content)
