"""Downloads and verifies models for the page, in a process for each model.

`python -m wan_pipeline.jobs.background.transfers --workspace DIR fetch|verify MODEL`
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from wan_pipeline.errors import Cancelled, StudioError, UserError
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.models.names import check_id
from wan_pipeline.models.transfer import TransferProgress
from wan_pipeline.progress import Throttle
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked

MODULE = "wan_pipeline.jobs.background.transfers"
REPORT_SECONDS = 0.5
STOP_POLL_SECONDS = 0.2


class TransferTask(StrEnum):
    """The values are in the state files and command lines of workspaces."""

    DOWNLOAD = "fetch"
    VERIFY = "verify"


class TransferState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    """The user stopped it, or its process died. What has been downloaded is kept."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class ModelTransfer:
    """How far the download or verification of a model is."""

    task: TransferTask
    state: TransferState
    progress: TransferProgress = field(default_factory=TransferProgress)
    error: str = ""
    """One sentence for the user, if it failed or its process died."""
    problems: tuple[str, ...] = ()
    """What a verification found, a sentence for each file."""
    is_stopping: bool = False
    """It was asked to stop, and will when the next bytes arrive."""

    @property
    def is_running(self) -> bool:
        return self.state is TransferState.RUNNING

    @property
    def is_over(self) -> bool:
        return not self.is_running

    def died(self, log: Path) -> ModelTransfer:
        return replace(self, state=TransferState.STOPPED, error=f"It ended unexpectedly; the reason may be in {log}.")


class Transfers:
    """The transfers of one workspace. Every method raises ModelError for an invalid id."""

    def __init__(self, settings: Settings, check_main_app: CheckMainApp = unchecked) -> None:
        self._check_main_app = check_main_app
        self._settings = settings
        self._locks = WorkspaceLocks(settings.workspace)
        self._processes: dict[str, BackgroundProcess] = {}

    @main_app_only
    def start(self, task: TransferTask, model_id: str) -> None:
        """Start a process for the model. Raises UserError if one is running, StorageError."""
        if self._is_running(model_id):
            raise UserError(f"{model_id} is being downloaded or verified already; wait until that is done, or stop it.")
        first = ModelTransfer(task, TransferState.RUNNING)
        is_download = task is TransferTask.DOWNLOAD
        file = _state_file(self._settings, model_id)
        self._process(model_id).start(file, first, task.value, model_id, uses_hub=is_download)

    @main_app_only
    def stop(self, model_id: str) -> None:
        """Ask the process of a model to stop, which it does when the next bytes arrive. Raises StorageError."""
        self._process(model_id).stop(_state_file(self._settings, model_id))

    def of(self, model_id: str) -> ModelTransfer | None:
        """How far the last transfer of a model is, or how it ended; None if there was none."""
        process, file = self._process(model_id), _state_file(self._settings, model_id)
        transfer = process.state(file)
        if transfer is None or transfer.is_over:
            return transfer
        return replace(transfer, is_stopping=file.stop_is_requested())

    @main_app_only
    def forget(self, model_id: str) -> None:
        """Delete the record of the last transfer of a model. Raises UserError while one is running."""
        if self._is_running(model_id):
            raise UserError(f"{model_id} is being downloaded or verified; stop that first.")
        _state_file(self._settings, model_id).delete()

    def _is_running(self, model_id: str) -> bool:
        transfer = self.of(model_id)
        return transfer is not None and transfer.is_running

    def _process(self, model_id: str) -> BackgroundProcess:
        check_id(model_id)  # it becomes a part of file names
        if model_id not in self._processes:
            lock, log = self._locks.transfer(model_id), self._settings.logs / "models.log"
            self._processes[model_id] = BackgroundProcess(MODULE, self._settings, lock, log)
        return self._processes[model_id]


class _Reporter:
    """The observer of a transfer in its own process: writes its state, and polls for the request to stop."""

    def __init__(self, file: StateFile[ModelTransfer], task: TransferTask) -> None:
        self._file = file
        self._task = task
        self._reports, self._polls = Throttle(REPORT_SECONDS), Throttle(STOP_POLL_SECONDS)
        self._is_stopped = False

    def transferred(self, progress: TransferProgress) -> None:
        if self._reports.is_due():
            self._file.write(ModelTransfer(self._task, TransferState.RUNNING, progress))

    def cancelled(self) -> bool:
        if self._polls.is_due():
            self._is_stopped = self._file.stop_is_requested()
        return self._is_stopped


def run(settings: Settings, task: TransferTask, model_id: str) -> ModelTransfer:
    """Download or verify a model in this process, and store how it ended. Raises StorageError if it cannot."""
    file = _state_file(settings, model_id)
    manager, observer = ModelManager(settings, ModelLibrary(settings)), _Reporter(file, task)
    end = ModelTransfer(task, TransferState.DONE)
    try:
        match task:
            case TransferTask.DOWNLOAD:
                manager.download(model_id, manager.download_plan(model_id), observer)
            case TransferTask.VERIFY:
                end = replace(end, problems=tuple(manager.verify(model_id, observer)))
    except Cancelled:
        end = ModelTransfer(task, TransferState.STOPPED)
    except StudioError as error:
        end = ModelTransfer(task, TransferState.FAILED, error=str(error))
    file.write(end)
    return end


def _state_file(settings: Settings, model_id: str) -> StateFile[ModelTransfer]:
    return StateFile(settings.cache / "fetches" / f"{model_id}.json", ModelTransfer)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Download or verify a model.")
    parser.add_argument("task", type=TransferTask, choices=list(TransferTask))
    parser.add_argument("model")
    options = parser.parse_args(arguments)
    settings, task, model_id = settings_of(options), options.task, options.model
    lock = WorkspaceLocks(settings.workspace).transfer(model_id)
    run_alone(lock, lambda: run(settings, task, model_id), f"{task} {model_id}")


if __name__ == "__main__":
    main()
