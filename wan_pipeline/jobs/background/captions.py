"""Writes the captions that a dataset lacks, for the page, in a process that waits until the queue is idle.

`python -m wan_pipeline.jobs.background.captions --workspace DIR DATASET MODEL`
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import psutil

from wan_pipeline.errors import StudioError, UserError
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.background.when_idle import when_idle
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.models.hub.captioners import captioners
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.trainer.dataset.library import Datasets

MODULE = "wan_pipeline.jobs.background.captions"
MAX_PROBLEMS = 20


class CaptionsState(StrEnum):
    WAITING = "waiting"
    """For the queue to be idle."""
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class WrittenCaptions:
    """How far the captions of a dataset are."""

    state: CaptionsState
    done: int = 0
    total: int = 0
    problems: tuple[str, ...] = ()
    """A sentence for each file that still has no caption; some of them."""
    error: str = ""
    """One sentence for the person, if it failed."""

    @property
    def is_over(self) -> bool:
        return self.state in (CaptionsState.DONE, CaptionsState.FAILED)

    def died(self, log: Path) -> WrittenCaptions:
        error = (
            f"The writing of captions ended unexpectedly; the reason may be in {log}. Those written so far are kept."
        )
        return replace(self, state=CaptionsState.FAILED, error=error)


class CaptionWriter:
    """The captions of one workspace's datasets."""

    def __init__(self, settings: Settings, check_main_app: CheckMainApp = unchecked) -> None:
        self._settings, self._check_main_app = settings, check_main_app
        lock, log = WorkspaceLocks(settings.workspace).captions(), settings.logs / "captions.log"
        self._process = BackgroundProcess(MODULE, settings, lock, log)

    @main_app_only
    def start(self, dataset: str, model: str) -> None:
        """Write what is missing as soon as the queue is idle. Raises UserError, StorageError, OSError."""
        if model not in captioners():
            raise UserError(
                f"'{model[:80]}' is no model in the Hugging Face cache that describes pictures; choose one."
            )
        if not Datasets(self._settings.datasets).items(dataset):
            raise UserError(f"The dataset '{dataset}' has no images yet; add some.")
        if self._process.is_alive:
            raise UserError("Captions are being written already; wait until that is done.")
        first = WrittenCaptions(CaptionsState.WAITING)
        self._process.start(_state_file(self._settings, dataset), first, dataset, model)

    def of(self, dataset: str) -> WrittenCaptions | None:
        """How far those of a dataset are, or how it ended; None if there were none."""
        return self._process.state(_state_file(self._settings, dataset))


def write_captions(settings: Settings, dataset: str, model: str) -> WrittenCaptions:
    """Wait for the queue, write the captions in this process, and store how it ended.

    When the queue gets work it gives way after the caption. Raises StorageError if it cannot store.
    """
    file = _state_file(settings, dataset)

    def report(progress: Progress) -> None:
        state = CaptionsState.WAITING if progress.stage is Stage.QUEUED else CaptionsState.WRITING
        file.write(WrittenCaptions(state, progress.step, progress.total))

    try:
        end = when_idle(settings, report, partial(_write, settings, dataset, model))
    except StudioError as error:
        end = WrittenCaptions(CaptionsState.FAILED, error=str(error))
    file.write(end)
    return end


def _write(settings: Settings, dataset: str, model: str, observer: Observer) -> WrittenCaptions:
    from wan_pipeline.engine.device.placement import choose_placement  # here: torch takes seconds to import
    from wan_pipeline.trainer.preparation.captions import Captioner, caption_dataset

    observer.progress(Progress(Stage.LOADING))

    def between(done: int, total: int) -> None:
        observer.progress(Progress(Stage.SAVING, done, total))
        if done < total:
            check_cancelled(observer, "writing of captions")

    captioner = Captioner(model, choose_placement(settings.device))
    written, problems = caption_dataset(Datasets(settings.datasets).folder(dataset), captioner, between)
    total = written + len(problems)
    return WrittenCaptions(CaptionsState.DONE, written, total, tuple(problems[:MAX_PROBLEMS]))


def _state_file(settings: Settings, dataset: str) -> StateFile[WrittenCaptions]:
    folder = Datasets(settings.datasets).folder(dataset)  # raises for a name that is none
    return StateFile(settings.cache / "captions" / f"{folder.name}.json", WrittenCaptions)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Write the captions that a dataset lacks.")
    for name in ("dataset", "model"):
        parser.add_argument(name)
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    lock = WorkspaceLocks(settings.workspace).captions()
    run_alone(
        lock, lambda: write_captions(settings, options.dataset, options.model).state, f"caption {options.dataset}"
    )


if __name__ == "__main__":
    main()
