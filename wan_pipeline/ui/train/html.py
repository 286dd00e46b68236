"""The HTML of the Train room: values are prepared here, words and markup are in the templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.jobs.background.captions import WrittenCaptions
from wan_pipeline.jobs.background.dataset_checks import DatasetCheck
from wan_pipeline.jobs.training.job import TrainingJob, TrainingState
from wan_pipeline.jobs.training.samples import BASE, Sample, steps_of
from wan_pipeline.trainer.dataset.folder import MAX_CAPTION_BYTES, Item
from wan_pipeline.trainer.dataset.tags import counted
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.parts.training import facts_line, stage_words
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.train.chart import HEIGHT, WIDTH, Curves
from wan_pipeline.ui.train.compare import GridTable

PAGE_SIZE = 24
"""Captions on a page."""
MAX_TAGS = 40
"""That are shown at once; the others can be opened."""
LEAST_MOTION = 0.6
"""Share of the base model's motion below which a sample's is marked."""
MAX_FINDINGS = 12
"""Problems of a dataset that are named; the rest are counted."""


@dataclass(frozen=True)
class Picture:
    """An image or clip of a dataset with its caption."""

    item: Item
    thumbnail: Path | None
    problem: str = ""
    """What is wrong with it, beside its caption."""


@dataclass(frozen=True)
class TrainingCard:
    """A training as the list shows it."""

    job: TrainingJob
    facts: str
    state: str
    checkpoints: tuple[int, ...]
    """Steps."""
    samples: tuple[Sample, ...]
    curves: Curves | None
    """Of one that has ended."""
    grid: GridTable | None
    error: str

    @property
    def steps(self) -> list[int]:
        return steps_of(self.samples)

    @property
    def can_retry(self) -> bool:
        return self.job.state in (TrainingState.FAILED, TrainingState.CANCELLED)

    def samples_at(self, step: int) -> list[Sample]:
        return [sample for sample in self.samples if sample.step == step]

    def title(self, step: int) -> str:
        """What the samples of a step were made with."""
        if step == BASE:
            return "Base model"
        return f"Step {step}"


def card(
    names: Names,
    job: TrainingJob,
    checkpoints: Sequence[int],
    samples: Sequence[Sample],
    curves: Curves | None,
    grid: GridTable | None,
) -> TrainingCard:
    error = job.error or job.request_error or ""
    state = stage_words(job) if not job.is_unfinished else job.state
    return TrainingCard(job, facts_line(names, job), state, tuple(checkpoints), tuple(samples), curves, grid, error)


def head(templates: Templates) -> str:
    return templates.render("train/head.html")


def report(
    templates: Templates,
    check: DatasetCheck | None,
    items: Sequence[Item],
    sheet: Path | None = None,
    captions: WrittenCaptions | None = None,
    error: str = "",
) -> str:
    """What is in a dataset and what is wrong with it, or how far its check is."""
    return templates.render(
        "train/report.html",
        check=check,
        count=len(items),
        without_caption=sum(not item.caption for item in items),
        sheet=sheet,
        captions=captions,
        error=error,
        max_findings=MAX_FINDINGS,
    )


def grid(templates: Templates, pictures: Sequence[Picture], offset: int, total: int) -> str:
    """A page of captions."""
    return templates.render(
        "train/grid.html",
        pictures=pictures,
        offset=offset,
        total=total,
        page_size=PAGE_SIZE,
        max_caption=MAX_CAPTION_BYTES,
    )


def tags(templates: Templates, items: Sequence[Item], chosen: str, shown: int) -> str:
    """The tags of all captions with their counts, and what can be done to the chosen one."""
    found = counted(item.caption for item in items)
    return templates.render("train/tags.html", tags=found[:MAX_TAGS], rest=found[MAX_TAGS:], chosen=chosen, shown=shown)


def live(templates: Templates, job: TrainingJob, curves: Curves | None) -> str:
    """The curves and numbers of the training that goes on."""
    return templates.render("train/live.html", job=job, curves=curves, width=WIDTH, height=HEIGHT)


def trainings(templates: Templates, cards: Sequence[TrainingCard], project: str, served: Callable[[Path], Path]) -> str:
    """All trainings. `project` is the title of the open one, empty for none; `served` gives what browsers may have."""
    shown = {"cards": cards, "project": project, "served": served, "least_motion": LEAST_MOTION}
    return templates.render("train/list.html", **shown, width=WIDTH, height=HEIGHT)
