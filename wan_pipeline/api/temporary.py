"""Gradio's temporary files: uploads, and copies of what the page shows."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

VARIABLE = "GRADIO_TEMP_DIR"
FOLDER = re.compile(r"gradio-(?P<process>\d+)-\w+")


@contextmanager
def own_temporary_files(cache: Path) -> Iterator[None]:
    """Keep Gradio's files in a folder of this process. To be entered before Gradio is imported. Raises OSError.

    Gradio names a copy by its content and deletes those of an app that ends: in a folder that apps share, one app
    deletes what another one still shows.
    """
    cache.mkdir(parents=True, exist_ok=True)
    _remove_left_over(cache)
    with TemporaryDirectory(prefix=f"gradio-{os.getpid()}-", dir=cache, ignore_cleanup_errors=True) as folder:
        os.environ[VARIABLE] = folder
        yield


def _remove_left_over(cache: Path) -> None:
    """Of processes that were killed."""
    for folder in cache.glob("gradio-*"):
        found = FOLDER.fullmatch(folder.name)
        if found and not psutil.pid_exists(int(found["process"])):
            shutil.rmtree(folder, ignore_errors=True)
