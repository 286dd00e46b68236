"""The contract between the rooms of the page.

A room is a class in `ui/<room>/__init__.py`, constructed as `QueueRoom(studio, templates, names)` inside its `gr.Tab`:
this draws it. When all rooms are drawn the page calls its `wire(links)`: this binds its events. What a room needs of
another one it finds in `links`, so no room imports another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.common.events import Updates, Values


class RoomId(StrEnum):
    """Ids of the rooms: of their tabs, their folders, and in the page's address."""

    CREATE = "create"
    QUEUE = "queue"
    SHOTS = "shots"
    CUT = "cut"
    GALLERY = "gallery"
    LORAS = "loras"
    TRAIN = "train"
    MODELS = "models"

    @property
    def heading(self) -> str:
        """What its tab says: the id, but for capitals."""
        return "LoRAs" if self is RoomId.LORAS else self.capitalize()


class Room(Protocol):
    """One room of the page."""

    def wire(self, links: PageLinks) -> None:
        """Bind the room's events. Called once, when all rooms are drawn."""


class Filler(Protocol):
    """The forms of the Create room, one a mode, as other rooms fill and read them."""

    @property
    def outputs(self) -> list[Block]:
        """What the updates below may change."""

    @property
    def inputs(self) -> set[Block]:
        """What `draft` reads."""

    @property
    def chosen_inputs(self) -> set[Block]:
        """What `spec` reads."""

    def fill(self, draft: Draft, message: str = "", editing: str = "", mode: Mode | None = None) -> Updates:
        """Show the draft in the form of its mode and open Create.

        `message` is shown as a notice. `editing` is the id of the waiting job that the form then edits.
        """

    def go_on_from(self, image: Path, draft: Draft) -> Updates:
        """Show the draft with this first frame, at the frame's size and with a new seed, and open Create."""

    def choose(self, spec: ModelSpec) -> Updates:
        """Choose this model, leave all else as it is, and open Create."""

    def spec(self, values: Values) -> ModelSpec:
        """The model chosen in the form that was open last. Raises ModelError for one that is not known here."""

    def use_lora(self, name: str, values: Values) -> Updates:
        """Add a LoRA to the form that was open last, and open Create."""

    def add_words(self, words: str, values: Values) -> Updates:
        """Put words at the end of the prompt of the form that was open last."""

    def notices(self, message: str) -> Updates:
        """Show a notice at the forms; an empty message removes it."""

    def draft(self, mode: Mode, values: Values) -> Draft:
        """What the form of this mode holds. Raises UserError."""


@dataclass(frozen=True)
class PageLinks:
    """What a room may use of the page and of the other rooms."""

    page: gr.Blocks
    """Its `load` event fires when a browser opens the page."""
    rooms: gr.Tabs
    """An output of `open`."""
    tabs: Mapping[RoomId, gr.Tab]
    filler: Filler
    job: gr.Textbox
    """Id of the job on the stage of Create. An output of `show_job`."""
    badge: gr.Textbox
    """The mark beside Queue in the page's head. Its value comes from `badge_text`."""
    project: gr.Dropdown
    """The project that is open. What is read of it goes through `common.projects.chosen_project`."""

    @property
    def outputs(self) -> list[Block]:
        """What the updates of `filler`, `open` and `show_job` may change. To be added to a room's own components."""
        return [*dict.fromkeys((*self.filler.outputs, self.rooms, self.job))]

    def entered(self, room: RoomId) -> Any:
        """The event that fires when the room is opened, for `gr.on`."""
        return self.tabs[room].select

    def open(self, room: RoomId) -> Updates:
        """Open a room."""
        return {self.rooms: gr.Tabs(selected=room.value)}

    def show_job(self, job_id: str) -> Updates:
        """Show a job on the stage of Create and open that room."""
        return {self.job: job_id, **self.open(RoomId.CREATE)}
