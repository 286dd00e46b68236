"""How programs of ours are started, a worker above all, apart from the app that starts them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from wan_pipeline.settings import REPOSITORY, Settings

MAX_LOG_BYTES = 4 * 2**20


class RunningWorker(Protocol):
    """What the supervisor needs of a process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


Launch = Callable[[Settings], RunningWorker]


def launch_worker(settings: Settings) -> RunningWorker:
    """Start a worker with these settings. Its words go into its log. Raises OSError."""
    return launch("wan_pipeline.jobs.worker", settings, worker_log(settings))


def launch(module: str, settings: Settings, log_path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a module that reads its settings by `settings_parser`. Its words go into the log. Raises OSError."""
    command = [sys.executable, "-m", module, *options_of(settings), *arguments]
    with _open_log(log_path) as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), **_apart()
        )


def settings_parser(module: str, description: str) -> argparse.ArgumentParser:
    """Reads what `launch` passes on; `settings_of` makes the settings of it."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    for name, default in vars(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=_reader(default), default=default)
    return parser


def _reader(default: object) -> Callable[[str], Any]:
    """What turns a setting's text into a value again."""
    return (lambda text: text == str(True)) if isinstance(default, bool) else type(default)


def settings_of(options: argparse.Namespace) -> Settings:
    return Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})


def worker_log(settings: Settings) -> Path:
    return settings.logs / "worker.log"


def options_of(settings: Settings) -> list[str]:
    """What `settings_parser` reads."""
    return [f"--{field.name.replace('_', '-')}={getattr(settings, field.name)}" for field in fields(Settings)]


def _environment() -> dict[str, str]:
    """This package must be found wherever the app was started from."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUTF8": "1"}


def _apart() -> dict[str, Any]:
    """Keeps Ctrl+C and the closing of the app's terminal away from the worker."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        with suppress(PermissionError):  # on Windows, while another app's worker writes to it: then it grows on
            path.replace(path.with_suffix(".old.log"))
    return path.open("ab")
