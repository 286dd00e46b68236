"""The command line in a process of its own, kept inside a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import pytest

from tests.support.processes.warm import WarmProcess, shared_warm
from wan_pipeline.cli import main
from wan_pipeline.settings import REPOSITORY

MODEL = "wan2.2-ti2v-5b"
"""The tiny model takes the place of this one: any registered model may lie in the models folder."""
QUICK = ["--prompt", "a red ball", "--width", "160", "--height", "128", "--frames", "5", "--steps", "2"]
ENDLESS = [*QUICK[:2], "--width", "384", "--height", "384", "--frames", "49", "--steps", "200"]
"""More than any test waits for."""
PATIENCE = 240.0


def make_folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    """Options that keep a command inside `tmp_path`."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / MODEL).symlink_to(tiny_demo, target_is_directory=True)
    (tmp_path / "loras").mkdir()
    options = {"workspace": "workspace", "models-folder": "models", "loras-folder": "loras"}
    return [f"--{name}={tmp_path / folder}" for name, folder in options.items()]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "wan_pipeline", *map(str, arguments)]


def program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does: a Python program that imports what it needs."""
    return subprocess.run(
        command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def wan(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process that has imported everything already, where the system can fork."""
    if os.name != "posix":
        return program(*arguments)
    return _ended("run_main", *arguments, **environment)


def python(code: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that has imported everything already, where the system can fork."""
    if os.name != "posix":
        words = [sys.executable, "-c", code, *map(str, arguments)]
        variables = {**os.environ, **environment}
        return subprocess.run(words, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    return _ended("run_code", code, *arguments, **environment)


def _ended(function: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    with TemporaryDirectory() as folder:
        log, errors = Path(folder, "stdout"), Path(folder, "stderr")
        code = _start(function, arguments, log, errors, environment).wait(PATIENCE)
        shown = log.read_text(environment.get("PYTHONIOENCODING", "utf-8"))
        return subprocess.CompletedProcess(arguments, code, shown, errors.read_text("utf-8"))


@contextmanager
def started(folder: Path, *arguments: str | Path) -> Iterator[tuple[WarmProcess, TextIO]]:
    """A command that has begun, and its stderr to be read as it is written. `folder` is for the pipe."""
    if os.name != "posix":
        pytest.skip("needs named pipes")
    os.mkfifo(folder / "stderr")
    process = _start("run_main", arguments, Path(os.devnull), folder / "stderr", {})
    try:
        with (folder / "stderr").open(encoding="utf-8") as stream:
            yield process, stream
    finally:
        process.kill()


def _start(
    function: str, arguments: tuple[str | Path, ...], log: Path, errors: Path, environment: dict[str, str]
) -> WarmProcess:
    words = [str(argument) for argument in arguments]
    return shared_warm().start(f"tests.support.commands:{function}", *words, log=log, errors=errors, **environment)


def run_main(*arguments: str) -> int:
    """What `python -m wan_pipeline` does once it has been imported."""
    if coding := os.environ.get("PYTHONIOENCODING"):
        sys.stdout.reconfigure(encoding=coding)
    return main(list(arguments))


def run_code(code: str, *arguments: str) -> None:
    sys.argv[1:] = arguments
    exec(code, {"__name__": "__main__"})  # noqa: S102 (a program of the docs)
