"""The dialog that compares the checkpoints of a training at several weights, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.training.job import TrainingJob
from wan_pipeline.jobs.training.samples import checkpoints_of
from wan_pipeline.projects.checkpoint_grids import CheckpointGrid, GridOrder, read_steps, read_weights
from wan_pipeline.requests.options import whole
from wan_pipeline.storage.files import modified
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.wording import are_there, plural

WEIGHTS = "0.5, 1"
"""That the dialog begins with."""
MAX_TABLES = 64
"""Grids whose clips are remembered."""


@dataclass(frozen=True)
class GridForm:
    """What the dialog's boxes hold, as it was typed."""

    prompts: str = ""
    weights: str = ""
    steps: str = ""
    seed: str = ""

    def order(self, name: str) -> GridOrder:
        """Raises UserError for what cannot be read."""
        prompts = tuple(line.strip() for line in self.prompts.splitlines() if line.strip())
        seed = whole("seed")(self.seed) if self.seed.strip() else None
        return GridOrder(name, prompts, read_weights(self.weights), read_steps(self.steps), seed)


@dataclass(frozen=True)
class GridTable:
    """A grid that was queued, with the clips that are done by now."""

    grid: CheckpointGrid
    clips: Mapping[str, Clip]

    @property
    def missing(self) -> int:
        """Clips that are not there yet, or any more."""
        return len(self.grid.jobs) - len(self.clips)

    def clip(self, prompt: int, step: int, weight: float) -> Clip | None:
        return self.clips.get(self.grid.job_of(prompt, step, weight))


class Comparing:
    """Each method raises UserError."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates
        self._clips_of = lru_cache(maxsize=MAX_TABLES)(lambda grid, _: studio.checkpoint_grids.clips(grid))

    def dialog(self, job: TrainingJob) -> str:
        prompts = job.prompts or ((job.request.trigger,) if job.request.trigger else ())
        form = GridForm("\n".join(prompts), WEIGHTS, "", str(job.request.seed))
        return self._dialog(job, form)

    def queue(self, job: TrainingJob, text: str, project: str) -> tuple[str, str]:
        """Queue what the dialog's boxes hold. Returns the dialog, empty if it is to close, and a sentence."""
        form = _read(text)
        try:
            prepared = self._studio.checkpoint_grids.prepare(form.order(job.name), project)
        except UserError as error:
            return self._dialog(job, form, str(error)), ""
        grid = self._studio.checkpoint_grids.queue(prepared)
        new = len(prepared.prepared.clips)
        there = len(grid.jobs) - new
        known = f"; {are_there(there, 'clip', 'the grid')}" if there else ""
        return "", f"{plural(new, 'clip')} added to the queue{known}"

    def table(self, name: str) -> GridTable | None:
        """The newest grid of a training; None without one."""
        grid = self._studio.checkpoint_grids.find(name)
        return GridTable(grid, self._clips(grid)) if grid else None

    def sheet(self, job: TrainingJob) -> Path:
        """Its contact sheet, in the cache."""
        target = self._studio.settings.cache / f"{job.name}_checkpoints.png"
        self._studio.checkpoint_grids.write_sheet(job.name, target)
        return target

    def _clips(self, grid: CheckpointGrid) -> Mapping[str, Clip]:
        """The clips that are done. They are looked up once for each change of the database."""
        return self._clips_of(grid, modified(self._studio.settings.database))

    def _dialog(self, job: TrainingJob, form: GridForm, error: str = "") -> str:
        steps = list(checkpoints_of(self._studio.settings, job.name))
        return self._templates.render("train/compare.html", job=job, form=form, steps=steps, error=error)


def _read(text: str) -> GridForm:
    try:
        return parse(GridForm, parse_json(text))
    except OutsideDataError as error:
        raise UserError(f"The form cannot be read ({error}); open it again.") from error
