"""Downloading and verifying models for the page: in a process of its own, which outlives the tab and the app.

`python -m wan_pipeline.jobs.background.transfers --workspace DIR fetch|verify MODEL`. One at a time for a model, by
a lock of the operating system. How it stands is a small file; another one beside it asks it to stop.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import Timeout

from wan_pipeline.errors import Cancelled, StudioError, UserError
from wan_pipeline.jobs.launch import launch, settings_of, settings_parser
from wan_pipeline.models.download import TransferProgress
from wan_pipeline.models.manage import Models
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import WorkspaceLocks, is_held

MODULE = "wan_pipeline.jobs.background.transfers"
REPORT_SECONDS = 0.5
LOOK_SECONDS = 0.2

logger = logging.getLogger(__name__)


class Task(StrEnum):
    FETCH = "fetch"
    VERIFY = "verify"


class TransferState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    """The person stopped it, or its process died; what has come is kept."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class ModelTransfer:
    """How the downloading or verifying of a model stands."""

    task: Task
    state: TransferState
    transfer: TransferProgress = field(default_factory=lambda: TransferProgress("", 0, 0))
    error: str = ""
    """One sentence for the person, when failed or when its process died."""
    problems: tuple[str, ...] = ()
    """What verifying found, one sentence a file."""
    is_stopping: bool = False
    """It was asked to stop, and will with the next bytes that come."""

    @property
    def is_running(self) -> bool:
        return self.state is TransferState.RUNNING


class Transfers:
    """The downloads and verifications of one workspace, as an app sees them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._locks = WorkspaceLocks(settings.workspace)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, task: Task, model_id: str) -> None:
        """Begin in a process of its own. Raises UserError while one is at this model, StorageError."""
        if self._is_running(model_id):
            raise UserError(f"{model_id} is being downloaded or verified already; wait until that is done, or stop it.")
        if process := self._processes.pop(model_id, None):
            process.wait()  # it has written its end
        _stop_file(self._settings, model_id).unlink(missing_ok=True)
        _write(_file(self._settings, model_id), ModelTransfer(task, TransferState.RUNNING))
        log = self._settings.logs / "models.log"
        self._processes[model_id] = launch(MODULE, self._settings, log, task.value, model_id)

    def stop(self, model_id: str) -> None:
        """Ask it to stop, which it does with the next bytes that come. Raises StorageError."""
        if self._is_running(model_id):
            with whole_file(_stop_file(self._settings, model_id)):
                pass

    def of(self, model_id: str) -> ModelTransfer | None:
        """How it stands with this model, or how it ended; None if there is nothing to say."""
        found = _read(_file(self._settings, model_id))
        if found is None or not found.is_running:
            return found
        if self._is_alive(model_id):
            return replace(found, is_stopping=_stop_file(self._settings, model_id).exists())
        found = _read(_file(self._settings, model_id))  # again: what has ended in between has written its end
        if found is None or not found.is_running:
            return found
        log = self._settings.logs / "models.log"
        return replace(found, state=TransferState.STOPPED, error=f"It ended before it was done; {log} may say why.")

    def forget(self, model_id: str) -> None:
        """Say no more of what was done to it. Raises UserError while one is at this model."""
        if self._is_running(model_id):
            raise UserError(f"{model_id} is being downloaded or verified; stop that first.")
        _file(self._settings, model_id).unlink(missing_ok=True)

    def _is_running(self, model_id: str) -> bool:
        fetch = self.of(model_id)
        return fetch is not None and fetch.is_running

    def _is_alive(self, model_id: str) -> bool:
        process = self._processes.get(model_id)
        return (process is not None and process.poll() is None) or is_held(self._locks.fetcher(model_id))


class _Reporter:
    """The observer of a transfer: writes down how it stands, and looks whether it shall stop."""

    def __init__(self, settings: Settings, task: Task, model_id: str) -> None:
        self._file, self._stop = _file(settings, model_id), _stop_file(settings, model_id)
        self._task = task
        self._written_at = self._looked_at = 0.0
        self._shall_stop = False

    def transferred(self, transfer: TransferProgress) -> None:
        now = time.monotonic()
        if now - self._written_at >= REPORT_SECONDS:
            self._written_at = now
            _write(self._file, ModelTransfer(self._task, TransferState.RUNNING, transfer))

    def cancelled(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._shall_stop = self._stop.exists()
        return self._shall_stop


def run(settings: Settings, task: Task, model_id: str) -> ModelTransfer:
    """Download or verify a model, and write down how it ended."""
    models, observer = Models(settings), _Reporter(settings, task, model_id)
    try:
        if task is Task.FETCH:
            models.fetch(model_id, models.plan(model_id), observer)
            end = ModelTransfer(task, TransferState.DONE)
        else:
            end = ModelTransfer(task, TransferState.DONE, problems=tuple(models.verify(model_id, observer)))
    except Cancelled:
        end = ModelTransfer(task, TransferState.STOPPED)
    except StudioError as error:
        end = ModelTransfer(task, TransferState.FAILED, error=str(error))
    _write(_file(settings, model_id), end)
    return end


def _file(settings: Settings, model_id: str) -> Path:
    return settings.cache / "fetches" / f"{model_id}.json"


def _stop_file(settings: Settings, model_id: str) -> Path:
    return settings.cache / "fetches" / f"{model_id}.stop"


def _write(path: Path, fetch: ModelTransfer) -> None:
    transfer = fetch.transfer
    facts: dict[str, Any] = {"task": fetch.task, "state": fetch.state, "error": fetch.error, "problems": fetch.problems}
    facts["transfer"] = [transfer.file, transfer.done_bytes, transfer.total_bytes, transfer.bytes_per_second]
    with whole_file(path) as part:
        part.write_text(json.dumps(facts), encoding="utf-8")


def _read(path: Path) -> ModelTransfer | None:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        task, state = Task(facts["task"]), TransferState(facts["state"])
        return ModelTransfer(
            task, state, TransferProgress(*facts["transfer"]), facts["error"], tuple(facts["problems"])
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read and counts as never written: %s", path, error)
        return None


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Download or verify a model.")
    parser.add_argument("task", type=Task, choices=list(Task))
    parser.add_argument("model")
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    lock = WorkspaceLocks(settings.workspace).fetcher(options.model)
    try:
        lock.acquire()
    except Timeout:
        logger.warning("%s is being downloaded or verified already.", options.model)
        return
    try:
        logger.info("%s %s: %s", options.task, options.model, run(settings, options.task, options.model))
    finally:
        lock.release()


if __name__ == "__main__":
    main()
