"""What the Train room shows now, and what of it differs from what a browser shows."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background.captions import WrittenCaptions
from wan_pipeline.jobs.background.dataset_checks import DatasetCheck, key_of, sheet_of
from wan_pipeline.jobs.training.job import TrainingJob
from wan_pipeline.jobs.training.samples import checkpoints_of, samples_of
from wan_pipeline.studio import Studio
from wan_pipeline.trainer.dataset.folder import Item
from wan_pipeline.trainer.dataset.tags import has_tag
from wan_pipeline.trainer.dataset.thumbnails import thumbnail_of
from wan_pipeline.trainer.recipe import load_recipe
from wan_pipeline.ui.common.events import Updates, Values
from wan_pipeline.ui.common.files import served_copy
from wan_pipeline.ui.common.messages import estimate
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.parts.training import training_actions, training_now
from wan_pipeline.ui.common.projects import chosen_project
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.shown import changed, digests
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.train import html
from wan_pipeline.ui.train.chart import Curves, curves
from wan_pipeline.ui.train.compare import Comparing
from wan_pipeline.ui.train.layout import TrainLayout, Typed

MAX_CARDS = 20


class TrainView:
    """Renders the parts of the room."""

    def __init__(
        self, studio: Studio, templates: Templates, names: Names, layout: TrainLayout, links: PageLinks
    ) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        self._layout, self._links = layout, links
        self._comparing = Comparing(studio, templates)
        self._served = lru_cache(maxsize=4096)(_served)
        self._curves_of_ended = lru_cache(maxsize=4 * MAX_CARDS)(self._curves)

    def refresh(self, values: Values, offset: int | None = None) -> Updates:
        """Updates for what differs from what the browser shows."""
        start = values[self._layout.offset] if offset is None else offset
        parts = {str(part._id): (part, value) for part, value in self._wanted(values, start).items()}
        now_shown = digests({name: value for name, (_, value) in parts.items()})
        names = changed(now_shown, values[self._layout.shown])
        updates = dict(parts[name] for name in names)
        if names:
            updates[self._layout.shown] = now_shown
        if offset is not None:
            updates[self._layout.offset] = offset
        return updates or {self._layout.shown: gr.skip()}

    def _wanted(self, values: Values, offset: int) -> dict[Block, str]:
        typed = self._layout.typed(values)
        unfinished = self._studio.trainings.unfinished()
        return {
            **self._dataset(typed, offset, values[self._layout.tag] or ""),
            **self._layout.updates(
                head=html.head(self._templates),
                now=training_now(self._templates, self._names, unfinished),
                now_actions=training_actions(self._templates, unfinished),
                live=html.live(self._templates, unfinished[0], self._curves(unfinished[0])) if unfinished else "",
                list=html.trainings(self._templates, self._cards(), self._project(values), self._served_file),
            ),
        }

    # The dataset and its forecast

    def _dataset(self, typed: Typed, offset: int, tag: str) -> dict[Block, str]:
        check, items, error = None, [], ""
        try:
            items = self._studio.datasets.items(typed.dataset)
            check = self._check(typed, items)
        except UserError as wrong:
            error = str(wrong)
        wanted = [item for item in items if not tag or has_tag(item.caption, tag)]
        problems = _problems(check)
        shown = [
            html.Picture(item, self._thumbnail(item), problems.get(item.name, ""))
            for item in wanted[offset : offset + html.PAGE_SIZE]
        ]
        return self._layout.updates(
            report=html.report(
                self._templates,
                check,
                items,
                self._sheet(typed, check),
                self._captions(typed) if items else None,
                error,
            ),
            tags=html.tags(self._templates, items, tag, len(wanted)),
            grid=html.grid(self._templates, shown, offset, len(wanted)),
            estimate=self._estimate(typed, check),
            recipe_words=self._recipe_words(typed),
        )

    def _captions(self, typed: Typed) -> WrittenCaptions | None:
        """How far the writing of captions is, or what went wrong with it."""
        written = self._studio.captions.of(typed.dataset)
        return written if written and (not written.is_over or written.error or written.problems) else None

    def _check(self, typed: Typed, items: list[Item]) -> DatasetCheck | None:
        """The check of the dataset as it is now, which is begun if there is none. None while there is nothing yet."""
        if not items:
            return None
        self._studio.models.spec(typed.model)
        key = key_of(items, typed.model, typed.recipe)
        check = self._studio.dataset_checks.of(typed.dataset)
        if check is not None and check.key == key:
            return check
        self._studio.dataset_checks.start(typed.dataset, typed.model, typed.recipe, key)
        return None

    def _estimate(self, typed: Typed, check: DatasetCheck | None) -> str:
        if check is None or not check.buckets:
            return ""
        try:
            spec = self._studio.models.spec(typed.model)
            recipe = load_recipe(typed.recipe, spec.memory, **typed.changes)
            found = self._studio.training_estimates.estimate(
                spec, recipe, check.buckets, len(typed.prompts), typed.clips
            )
        except UserError as error:
            return estimate(self._templates, str(error), fits=False)
        return estimate(self._templates, found.text, found.fits)

    def _recipe_words(self, typed: Typed) -> str:
        try:
            spec = self._studio.models.spec(typed.model)
            recipe = load_recipe(typed.recipe, spec.memory, **typed.changes)
        except UserError:  # the forecast says it
            return ""
        return self._templates.render("train/recipe.html", recipe=recipe)

    def _sheet(self, typed: Typed, check: DatasetCheck | None) -> Path | None:
        """The contact sheet of what was checked."""
        path = sheet_of(self._studio.settings, typed.dataset)
        return self._served_file(path) if check is not None and check.is_over and path.is_file() else None

    def _thumbnail(self, item: Item) -> Path | None:
        path = thumbnail_of(self._studio.settings, item)
        return self._served_file(path) if path.is_file() else None

    # Trainings

    def _cards(self) -> list[html.TrainingCard]:
        settings = self._studio.settings
        return [
            html.card(
                self._names,
                job,
                list(checkpoints_of(settings, job.name)),
                samples_of(settings, job.name),
                None if job.is_unfinished else self._curves_of_ended(job),
                self._comparing.table(job.name),
            )
            for job in self._studio.trainings.all(MAX_CARDS)
        ]

    def _curves(self, job: TrainingJob) -> Curves | None:
        return curves(self._studio.trainings.points(job.id), self._steps(job))

    def _steps(self, job: TrainingJob) -> int:
        """That it takes in all; 0 where its model or recipe is gone."""
        request = job.request
        with suppress(UserError):
            memory = self._studio.models.spec(request.model).memory
            return load_recipe(request.recipe, memory, **request.changes).steps
        return 0

    def _project(self, values: Values) -> str:
        label = chosen_project(self._studio, values.get(self._links.project))
        found = self._studio.projects.find(label) if label else None
        return found.title if found else ""

    def _served_file(self, path: Path) -> Path:
        try:
            return self._served(path, path.stat().st_mtime_ns)
        except OSError:  # it has gone: the next look shows that
            return path


def _problems(check: DatasetCheck | None) -> dict[str, str]:
    """What is wrong with files of a dataset, by name."""
    found: dict[str, list[str]] = {}
    for finding in check.findings if check is not None else ():
        found.setdefault(finding.name, []).append(finding.problem.value)
    return {name: ", ".join(problems) for name, problems in found.items()}


def _served(path: Path, _: int) -> Path:
    """The file as a browser may have it. It is copied once for each time that it changes."""
    return served_copy(path)
