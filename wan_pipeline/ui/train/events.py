"""What happens to trainings in the Train room. The page is the owner's alone, so guests see nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import UserError
from wan_pipeline.models.hub.captioners import captioners
from wan_pipeline.models.registry import DEFAULT_MODEL
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.studio import Studio
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.trainable import check_trainable
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.files import served_copy
from wan_pipeline.ui.common.messages import notice, toast
from wan_pipeline.ui.common.projects import chosen_project
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.train.compare import Comparing
from wan_pipeline.ui.train.layout import TrainLayout, Typed, choices
from wan_pipeline.ui.train.shown import TrainView


class TrainEvents:
    """Each handler takes the values of the layout's `inputs`, `act` those of `act_inputs` too, and returns updates."""

    def __init__(
        self, studio: Studio, templates: Templates, layout: TrainLayout, view: TrainView, links: PageLinks
    ) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._view, self._links = layout, view, links
        self._comparing = Comparing(studio, templates)
        self._actions: Mapping[str, Callable[[Click, Values], Updates]] = {
            "use": self._use,
            "take": self._take,
            "project-lora": self._use_in_project,
            "compare-checkpoints": self._compare,
            "queue-grid": self._queue_grid,
            "grid-sheet": self._download_sheet,
            "close": lambda *_: self._layout.updates(over=""),
            "cancel-training": lambda click, values: self._change(self._studio.trainings.cancel, click, values),
            "retry-training": lambda click, values: self._change(self._studio.trainings.retry, click, values),
            "remove-training": lambda click, values: self._change(self._studio.trainings.remove, click, values),
        }

    @property
    def act_inputs(self) -> set[Block]:
        return {*self._links.filler.inputs, self._links.project}

    def enter(self, values: Values) -> Updates:
        """The room is opened: the datasets and models that there are now."""
        datasets = self._studio.datasets.names()
        chosen = self._layout.typed(values).dataset
        first = datasets[0] if datasets and chosen not in datasets else chosen
        models = self._trainable()
        model = values[self._layout.model] if values[self._layout.model] in models else DEFAULT_MODEL
        seen = {**values, self._layout.dataset: first, self._layout.model: model}
        found, captioner = captioners(), values.get(self._layout.captioner)
        return {
            **self._view.refresh(seen, 0),
            self._layout.captioning: gr.Row(visible=bool(found)),
            self._layout.captioner: gr.Dropdown(
                choices=found, value=captioner if captioner in found else next(iter(found), None)
            ),
            self._layout.dataset: gr.Dropdown(choices=datasets, value=first),
            self._layout.model: gr.Dropdown(choices=choices(models), value=model),
        }

    def refresh(self, values: Values) -> Updates:
        """Updates for what differs from what the browser shows."""
        return self._view.refresh(values)

    def train(self, values: Values) -> Updates:
        """Queue a training of what the form holds."""
        typed = self._layout.typed(values)
        try:
            self._studio.trainings.submit(self._request(typed), typed.prompts)
        except UserError as error:
            return self._layout.updates(notice=notice(self._templates, str(error)))
        text = f"{typed.name} is trained when the queue is idle"
        return {
            **self._view.refresh(values),
            **self._layout.updates(notice="", name="", toast=toast(self._templates, text)),
        }

    def act(self, values: Values, event: gr.EventData) -> Updates:
        """A click on a training. What goes wrong is said in a toast."""
        click = Click.of(event)
        try:
            return self._actions[click.act](click, values)
        except UserError as error:
            return {**self._view.refresh(values), **self._toast(str(error))}

    def _request(self, typed: Typed) -> TrainingRequest:
        return TrainingRequest(
            self._studio.datasets.folder(typed.dataset),
            typed.name,
            model=typed.model,
            recipe=typed.recipe,
            trigger=typed.trigger,
            seed=typed.seed,
            steps=typed.steps,
            caption_dropout=typed.caption_dropout,
            optimizer=typed.optimizer,
            regularisation_clips=typed.clips,
        )

    def _trainable(self) -> dict[str, str]:
        """Titles of the installed models that can be trained, by id."""
        found = {}
        for spec in self._studio.models.specs().values():
            try:
                check_trainable(self._studio.models.find(spec.id))
            except UserError:  # it is not here, or not for training; the Models room says which
                continue
            found[spec.id] = spec.title
        return found

    def _change(self, change: Callable[[str], object], click: Click, values: Values) -> Updates:
        change(click.subject)
        return self._view.refresh(values)

    def _use(self, click: Click, values: Values) -> Updates:
        """The LoRA in the form that was open last, and its trigger word in the prompt."""
        job = self._studio.trainings.existing(click.subject)
        return self._in_form(job.name, job.request.trigger, values)

    def _take(self, click: Click, values: Values) -> Updates:
        """The LoRA of a checkpoint, likewise."""
        job = self._studio.trainings.existing(click.subject)
        name = self._studio.trainings.take(job.id, int(click.text) if click.text.isdecimal() else 0)
        return self._in_form(name, job.request.trigger, values)

    def _in_form(self, name: str, trigger: str, values: Values) -> Updates:
        self._studio.loras.find(name)  # raises for one that is gone
        filler = self._links.filler
        words = filler.add_words(trigger, values) if trigger else {}
        return {**words, **filler.use_lora(name, values)}

    def _use_in_project(self, click: Click, values: Values) -> Updates:
        """The LoRA among those of the open project."""
        name = self._studio.trainings.existing(click.subject).name
        self._studio.loras.find(name)
        project = self._studio.projects.existing(chosen_project(self._studio, values.get(self._links.project)))
        others = tuple(lora for lora in project.setup.loras or () if lora.name != name)
        setup = replace(project.setup, loras=(*others, LoraChoice(name)))
        self._studio.projects.save(replace(project, setup=setup))
        return {
            **self._view.refresh(values),
            **self._toast(f"Clips of {project.title} are made with {name} from now on"),
        }

    def _compare(self, click: Click, values: Values) -> Updates:
        """Ask for the prompts and weights of a grid of its checkpoints."""
        job = self._studio.trainings.existing(click.subject)
        return self._layout.updates(over=self._comparing.dialog(job))

    def _queue_grid(self, click: Click, values: Values) -> Updates:
        job = self._studio.trainings.existing(click.subject)
        project = chosen_project(self._studio, values.get(self._links.project))
        dialog, told = self._comparing.queue(job, click.text, project)
        if dialog:
            return self._layout.updates(over=dialog)
        return {**self._view.refresh(values), **self._layout.updates(over=""), **self._toast(told)}

    def _download_sheet(self, click: Click, values: Values) -> Updates:
        sheet = self._comparing.sheet(self._studio.trainings.existing(click.subject))
        text = f"{sheet.name} is being downloaded"
        return self._layout.updates(toast=toast(self._templates, text, download=served_copy(sheet)))

    def _toast(self, text: str) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text))
