"""How a worker process is started, apart from the app that starts it."""

from __future__ import annotations

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

    def wait(self) -> int: ...


Launch = Callable[[Settings], RunningWorker]


def launch_worker(settings: Settings) -> RunningWorker:
    """Start a worker with these settings. Its words go into its log. Raises OSError."""
    with _open_log(worker_log(settings)) as log:
        return subprocess.Popen(
            _command(settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), **_apart()
        )


def worker_log(settings: Settings) -> Path:
    return settings.logs / "worker.log"


def _command(settings: Settings) -> list[str]:
    """The command line that starts a worker with these settings."""
    options = [f"--{field.name.replace('_', '-')}={getattr(settings, field.name)}" for field in fields(Settings)]
    return [sys.executable, "-m", "wan_pipeline.jobs.worker", *options]


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
