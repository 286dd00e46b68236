"""What happens in the LoRAs room. The page is the owner's alone, so guests see nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.parts.lora import installed, remember_expert
from wan_pipeline.ui.common.room import Filler
from wan_pipeline.ui.common.shown import changed, digests
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.loras import html
from wan_pipeline.ui.loras.layout import LorasLayout
from wan_pipeline.ui.loras.shelf import PAGE_SIZE, QUICK, THOROUGH, LoraShelves, Query, Shelf


class LorasEvents:
    """Each handler takes the values of `inputs`, or of `act_inputs` if it may change a form, and returns updates."""

    def __init__(self, studio: Studio, templates: Templates, layout: LorasLayout, filler: Filler) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._filler = layout, filler
        self._shelves = LoraShelves(studio)
        self._actions: Mapping[str, Callable[[Click, Values], Updates]] = {
            "use": lambda click, values: self._filler.use_lora(click.subject, values),
            "words": self._add_words,
            "note": self._note,
            "expert": self._choose_expert,
            "more": self._show_more,
        }

    @property
    def inputs(self) -> set[Block]:
        """The forms' chosen models alone: they are read every few seconds."""
        return self._layout.inputs | self._filler.chosen_inputs

    @property
    def act_inputs(self) -> set[Block]:
        return self._layout.inputs | self._filler.inputs

    def enter(self, values: Values) -> Updates:
        """The room is opened: for the model that is chosen in Create now."""
        return self._show(values, self._layout.query(values))

    def search(self, values: Values) -> Updates:
        """Other words or filters: show the first page of what they find."""
        return self._show(values, replace(self._layout.query(values), limit=PAGE_SIZE))

    def follow(self, values: Values) -> Updates:
        """Look at the folders again, and hash files that are shown without their hash. Only what changed is sent."""
        query = self._layout.query(values)
        shelf = self._shelves.hashed(self._shelf(query, values, THOROUGH), THOROUGH)
        updates = self._shown(shelf, values, query)
        is_same = not changed(updates[self._layout.shown], values[self._layout.shown])
        return {self._layout.shown: gr.skip()} if is_same else updates

    def add(self, values: Values) -> Updates:
        """A file that was dropped or chosen: it is checked, then it appears."""
        path = values[self._layout.upload]
        if not path:
            return {self._layout.shown: gr.skip()}
        try:
            text = f"{self._studio.lora_files.add(Path(path))} is in the folder"
        except UserError as error:
            text = str(error)
        return {**self._show(values, self._layout.query(values)), **self._toast(text)}

    def act(self, values: Values, event: gr.EventData) -> Updates:
        """A click on a card, or an edited note. What goes wrong is said in a toast."""
        click = Click.of(event)
        try:
            return self._actions[click.act](click, values)
        except UserError as error:
            return self._toast(str(error))

    def _add_words(self, click: Click, values: Values) -> Updates:
        return {**self._filler.add_words(click.text, values), **self._toast(f"“{click.text}” is in the prompt")}

    def _note(self, click: Click, values: Values) -> Updates:
        lora = self._studio.loras.find(click.subject)
        self._studio.lora_notes.write(self._studio.lora_catalog.sha256(lora.paths[0]), click.text)
        return self._show(values, self._layout.query(values))

    def _choose_expert(self, click: Click, values: Values) -> Updates:
        remember_expert(self._studio, click.subject, click.text)
        return self._show(values, self._layout.query(values))

    def _show_more(self, click: Click, values: Values) -> Updates:
        query = self._layout.query(values)
        return self._show(values, replace(query, limit=query.limit + PAGE_SIZE))

    # What is shown

    def _show(self, values: Values, query: Query) -> Updates:
        return self._shown(self._shelf(query, values), values, query)

    def _shown(self, shelf: Shelf, values: Values, query: Query) -> Updates:
        parts, settled = (self._parts(each, query, values) for each in (shelf, shelf.settled))
        return {
            **self._layout.offer(shelf.folders, values),
            **self._layout.updates(**parts, limit=query.limit, shown=digests(settled)),
        }

    def _shelf(self, query: Query, values: Values, seconds: float = QUICK) -> Shelf:
        return self._shelves.find(query, installed(self._studio, self._filler.spec(values).id), seconds)

    def _parts(self, shelf: Shelf, query: Query, values: Values) -> dict[str, str]:
        """The HTML that depends on the files, by name of the component."""
        model = self._filler.spec(values).title
        return {
            "head": html.head(self._templates, shelf, model),
            "grid": html.grid(self._templates, shelf, query, model),
        }

    def _toast(self, text: str) -> Updates:
        return self._layout.updates(toast=toast(self._templates, text))
