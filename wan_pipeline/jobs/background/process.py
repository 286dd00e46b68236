"""Work in a process of its own, which outlives the tab and the app that started it.

A lock of the operating system says whether the process is alive, and a small JSON file how far it is. Any app of the
workspace can read both, and ask the process to stop by a second file.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from filelock import FileLock, Timeout

from wan_pipeline.jobs.launch import launch
from wan_pipeline.jobs.log import FORMAT
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import is_held
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

logger = logging.getLogger(__name__)


class ProcessState(Protocol):
    """How far a process is: a frozen dataclass of plain values, which is stored as JSON."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def is_over(self) -> bool:
        """Whether this is the last state, written before the process ended."""

    def died(self, log: Path) -> Self:
        """The state of a process that ended before it was done."""


State = TypeVar("State", bound=ProcessState)


class StateFile(Generic[State]):
    """The file in which a process keeps its state, and beside it the file that asks it to stop."""

    def __init__(self, path: Path, kind: type[State]) -> None:
        self._path = path
        self._kind = kind

    def read(self) -> State | None:
        """None if there is none. A file that cannot be parsed is deleted, or it would be reported every second."""
        try:
            return parse(self._kind, read_json_file(self._path))
        except FileNotFoundError:
            return None
        except OSError as error:  # on Windows, while another process replaces it
            logger.debug("%s cannot be read: %s", self._path, error)
        except OutsideDataError as error:
            logger.warning("%s cannot be used and is deleted: %s", self._path, error)
            with suppress(OSError):
                self.delete()
        return None

    def write(self, state: State) -> None:
        """Raises StorageError."""
        with whole_file(self._path) as part:
            part.write_text(json.dumps(asdict(state)), encoding="utf-8")

    def delete(self) -> None:
        self._path.unlink(missing_ok=True)

    def request_stop(self) -> None:
        """Raises StorageError."""
        with whole_file(self._stop_path):
            pass

    def stop_is_requested(self) -> bool:
        return self._stop_path.exists()

    def withdraw_stop(self) -> None:
        self._stop_path.unlink(missing_ok=True)

    @property
    def _stop_path(self) -> Path:
        return self._path.with_suffix(".stop")


class BackgroundProcess:
    """A module that runs in a process of its own, one at a time by its lock."""

    def __init__(self, module: str, settings: Settings, lock: FileLock, log: Path) -> None:
        """`module` holds `lock` while it runs, as by `run_alone`; its output goes to `log`."""
        self._module = module
        self._settings = settings
        self._lock = lock
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it runs, started here or by another app. A child that was just started has no lock yet."""
        return (self._child is not None and self._child.poll() is None) or is_held(self._lock)

    def start(self, file: StateFile[State], state: State, *arguments: str, uses_hub: bool = False) -> None:
        """Write its first state and start it, once a child that has written its last state is gone.

        Raises StorageError, OSError.
        """
        if self._child is not None:
            self._child.wait()
        file.withdraw_stop()
        file.write(state)
        self._child = launch(self._module, self._settings, self._log, *arguments, uses_hub=uses_hub)

    def stop(self, file: StateFile[State]) -> None:
        """Ask it to stop, if it runs. Raises StorageError."""
        if self.is_alive:
            file.request_stop()

    def state(self, file: StateFile[State]) -> State | None:
        """What its file says, or that it ended before it was done; None if the file says nothing."""
        state = file.read()
        if state is None or state.is_over or self.is_alive:
            return state
        state = file.read()  # again: it may have written its last state and ended between the two polls
        return state if state is None or state.is_over else state.died(self._log)


def run_alone(lock: FileLock, work: Callable[[], object], description: str) -> None:
    """The main function of a background process: do the work, holding the lock; return if another process holds it."""
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    try:
        lock.acquire()
    except Timeout:
        logger.warning("%s: another process is doing it.", description)
        return
    try:
        logger.info("%s: %s", description, work())
    finally:
        lock.release()
