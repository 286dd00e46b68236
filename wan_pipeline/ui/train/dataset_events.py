"""What happens to datasets in the Train room. The page is the owner's alone, so guests see nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import gradio as gr

from wan_pipeline.clips.gallery import GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.projects import chosen_project
from wan_pipeline.ui.common.room import PageLinks
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.train.html import PAGE_SIZE
from wan_pipeline.ui.train.layout import TrainLayout
from wan_pipeline.ui.train.shown import TrainView
from wan_pipeline.wording import plural

MAX_STARRED = 200


class DatasetEvents:
    """Each handler takes values of the layout's `inputs` and returns updates. What goes wrong is said in a toast."""

    def __init__(
        self, studio: Studio, templates: Templates, layout: TrainLayout, view: TrainView, links: PageLinks
    ) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._view, self._links = layout, view, links
        self._actions: Mapping[str, Callable[[Click, Values], Updates]] = {
            "caption": self._write_caption,
            "remove-item": self._remove,
            "tag": self._filter,
            "remove-tag": self._remove_tag,
            "back": lambda _, values: self._turn(values, -PAGE_SIZE),
            "next": lambda _, values: self._turn(values, PAGE_SIZE),
        }

    def choose(self, values: Values) -> Updates:
        """Another dataset: its first page, with all captions."""
        return self._filtered(values, "")

    def add_files(self, values: Values) -> Updates:
        """Files that were dropped or chosen."""
        files = [Path(path) for path in values[self._layout.upload] or ()]
        return self._told(values, lambda name: f"{plural(self._studio.datasets.add(name, files), 'file')} added")

    def add_clips(self, values: Values) -> Updates:
        """The starred clips of the open project, or of all; their prompts are the captions."""
        project = chosen_project(self._studio, values.get(self._links.project))
        query = GalleryQuery(starred=True, project=project)
        clips = self._studio.gallery.page(query, 0, MAX_STARRED).items
        found = [(clip.path, clip.request.prompt) for clip in clips if clip.path.is_file()]

        def add(name: str) -> str:
            if not found:
                raise UserError("There is no starred clip; star those that you want to train on in the gallery.")
            return f"{plural(self._studio.datasets.add_captioned(name, found), 'clip')} added"

        return self._told(values, add)

    def replace(self, values: Values) -> Updates:
        """Find and replace in all captions."""
        find, put = values[self._layout.find] or "", values[self._layout.put] or ""
        return self._told(
            values, lambda name: f"{plural(self._studio.datasets.replace(name, find, put), 'caption')} changed"
        )

    def add_tag(self, values: Values) -> Updates:
        """Add a tag to all captions, or to those that are shown."""
        tag, among = values[self._layout.add] or "", values[self._layout.tag] or ""
        return self._told(
            values, lambda name: f"{plural(self._studio.datasets.add_tag(name, tag, among), 'caption')} changed"
        )

    def write_captions(self, values: Values) -> Updates:
        """Have a model on this machine write the captions that are missing."""

        def start(name: str) -> str:
            self._studio.captions.start(name, values[self._layout.captioner] or "")
            return "Missing captions are written when the queue is idle"

        return self._told(values, start)

    def act(self, values: Values, event: gr.EventData) -> Updates:
        """A click on a picture of the grid, or an edited caption."""
        click = Click.of(event)
        try:
            return self._actions[click.act](click, values)
        except UserError as error:
            return {**self._view.refresh(values), **self._toast(str(error))}

    def _write_caption(self, click: Click, values: Values) -> Updates:
        self._studio.datasets.write_caption(self._layout.typed(values).dataset, click.subject, click.text)
        return self._view.refresh(values)

    def _remove(self, click: Click, values: Values) -> Updates:
        self._studio.datasets.remove_item(self._layout.typed(values).dataset, click.subject)
        return {**self._view.refresh(values), **self._toast(f"{click.subject} removed from the dataset")}

    def _filter(self, click: Click, values: Values) -> Updates:
        """Show the captions with a tag alone; all again when it is clicked once more."""
        return self._filtered(values, "" if click.text == values[self._layout.tag] else click.text)

    def _remove_tag(self, click: Click, values: Values) -> Updates:
        count = self._studio.datasets.remove_tag(self._layout.typed(values).dataset, click.text)
        return {**self._filtered(values, ""), **self._toast(f"'{click.text}' removed from {plural(count, 'caption')}")}

    def _filtered(self, values: Values, tag: str) -> Updates:
        shown = self._view.refresh({**values, self._layout.tag: tag}, 0)
        return {**shown, **self._layout.updates(tag=tag)}

    def _turn(self, values: Values, by: int) -> Updates:
        return self._view.refresh(values, max(values[self._layout.offset] + by, 0))

    def _told(self, values: Values, change: Callable[[str], str]) -> Updates:
        """Change the dataset and say what was done."""
        try:
            text = change(self._layout.typed(values).dataset)
        except UserError as error:
            text = str(error)
        choices = gr.Dropdown(choices=self._studio.datasets.names())
        return {**self._view.refresh(values), **self._toast(text), self._layout.dataset: choices}

    def _toast(self, text: str) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text))
