"""Checks datasets for the page and makes their thumbnails, one dataset at a time, in a process of its own.

`python -m wan_pipeline.jobs.background.dataset_checks --workspace DIR DATASET MODEL RECIPE`. It needs no device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import psutil

from wan_pipeline.clips.thumbnail import stamp_of
from wan_pipeline.errors import StorageError, StudioError
from wan_pipeline.jobs.background.process import BackgroundProcess, StateFile, run_alone
from wan_pipeline.jobs.launch import settings_of, settings_parser
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.progress import Throttle
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.trainer.dataset.buckets import Bucket, Buckets
from wan_pipeline.trainer.dataset.check import Dataset, Finding, Problem, check_dataset
from wan_pipeline.trainer.dataset.folder import Item
from wan_pipeline.trainer.dataset.library import Datasets
from wan_pipeline.trainer.dataset.sheet import write_dataset_sheet
from wan_pipeline.trainer.dataset.thumbnails import make_thumbnail
from wan_pipeline.trainer.recipe import load_recipe

MODULE = "wan_pipeline.jobs.background.dataset_checks"
REPORT_SECONDS = 0.5
MAX_FINDINGS = 500
"""Findings in a report; there may be one for each of 20,000 files."""


class CheckState(StrEnum):
    CHECKING = "checking"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class BucketCount:
    bucket: Bucket
    count: int


@dataclass(frozen=True)
class DatasetCheck:
    """How far the check of a dataset is, or what it found."""

    state: CheckState
    key: str
    """What was checked, by `key_of`: what is checked now has another once a file or the model has changed."""
    done: int = 0
    total: int = 0
    images: int = 0
    clips: int = 0
    buckets: tuple[BucketCount, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Without those of captions, which change while they are edited."""
    unnamed: int = 0
    """Further findings."""
    advice: tuple[str, ...] = ()
    error: str = field(default="")
    """One sentence for the user, if nothing can be trained on."""

    @property
    def is_over(self) -> bool:
        return self.state is not CheckState.CHECKING

    def died(self, log: Path) -> DatasetCheck:
        return replace(
            self, state=CheckState.FAILED, error=f"The check ended unexpectedly; the reason may be in {log}."
        )


class DatasetChecks:
    """The checks of one workspace."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        lock = WorkspaceLocks(settings.workspace).dataset_check()
        self._process = BackgroundProcess(MODULE, settings, lock, settings.logs / "datasets.log")

    def start(self, dataset: str, model: str, recipe: str, key: str) -> bool:
        """Check a dataset for a model and recipe. False while another is being checked. Raises StorageError."""
        if self._process.is_alive:
            return False
        first = DatasetCheck(CheckState.CHECKING, key)
        self._process.start(_state_file(self._settings, dataset), first, dataset, model, recipe, key)
        return True

    def of(self, dataset: str) -> DatasetCheck | None:
        """How far the last check of a dataset is, or how it ended; None if there was none."""
        return self._process.state(_state_file(self._settings, dataset))


def key_of(items: Sequence[Item], model: str, recipe: str) -> str:
    """Hash of the files as they are now, without captions, and of what they are checked for."""
    digest = hashlib.sha256(f"{model}\0{recipe}\0".encode())
    for item in items:
        digest.update(f"{item.name}\0{stamp_of(item.path)}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def check(settings: Settings, dataset: str, model: str, recipe: str, key: str) -> DatasetCheck:
    """Check a dataset in this process, and store what is found. Raises StorageError if it cannot."""
    file = _state_file(settings, dataset)
    try:
        end = _check(settings, dataset, model, recipe, DatasetCheck(CheckState.CHECKING, key), file)
    except StorageError:
        raise
    except StudioError as error:
        end = DatasetCheck(CheckState.FAILED, key, error=str(error))
    file.write(end)
    return end


def _check(
    settings: Settings, dataset: str, model: str, recipe: str, first: DatasetCheck, file: StateFile[DatasetCheck]
) -> DatasetCheck:
    spec = ModelLibrary(settings).spec(model)
    numbers = load_recipe(recipe, spec.memory)
    datasets, reports = Datasets(settings.datasets), Throttle(REPORT_SECONDS)
    items = datasets.items(dataset)

    def between(done: int, total: int) -> None:
        make_thumbnail(settings, items[done - 1], spec.fps)
        if reports.is_due():
            file.write(replace(first, done=done, total=total))

    found = check_dataset(datasets.folder(dataset), spec, Buckets(spec, numbers.pixels, numbers.max_frames), between)
    write_dataset_sheet(found, settings, spec.fps, sheet_of(settings, dataset))
    return _report(first.key, found)


def _report(key: str, found: Dataset) -> DatasetCheck:
    findings = [finding for finding in found.findings if finding.problem is not Problem.NO_CAPTION]
    return DatasetCheck(
        CheckState.DONE,
        key,
        images=len(found.examples) - found.clips,
        clips=found.clips,
        buckets=tuple(BucketCount(bucket, count) for bucket, count in found.buckets.items()),
        findings=tuple(findings[:MAX_FINDINGS]),
        unnamed=max(len(findings) - MAX_FINDINGS, 0),
        advice=found.advice,
    )


def sheet_of(settings: Settings, dataset: str) -> Path:
    """Where the contact sheet of a dataset is, as of its last check."""
    return settings.cache / "datasets" / f"{dataset}.png"


def _state_file(settings: Settings, dataset: str) -> StateFile[DatasetCheck]:
    return StateFile(settings.cache / "datasets" / f"{dataset}.json", DatasetCheck)


def main(arguments: list[str] | None = None) -> None:
    parser = settings_parser(MODULE, "Check a dataset.")
    for name in ("dataset", "model", "recipe", "key"):
        parser.add_argument(name)
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10)
    lock = WorkspaceLocks(settings.workspace).dataset_check()
    work = (settings, options.dataset, options.model, options.recipe, options.key)
    run_alone(lock, lambda: check(*work).state, f"check {options.dataset}")


if __name__ == "__main__":
    main()
