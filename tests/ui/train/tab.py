"""A tab of the Train room, on a real studio."""

from __future__ import annotations

from typing import Any

import gradio as gr

from tests.support.pages import NAMES, TEMPLATES, Reader, page_links
from wan_pipeline.jobs.background.dataset_checks import check, key_of
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Updates
from wan_pipeline.ui.train.dataset_events import DatasetEvents
from wan_pipeline.ui.train.events import TrainEvents
from wan_pipeline.ui.train.layout import TrainLayout
from wan_pipeline.ui.train.shown import TrainView


class Tab:
    """A browser tab that shows the room: it keeps what it shows."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Blocks() as page:
            self.layout = TrainLayout()
            self.links = page_links(page, studio)
        view = TrainView(studio, TEMPLATES, NAMES, self.layout, self.links)
        self.events = TrainEvents(studio, TEMPLATES, self.layout, view, self.links)
        self.data = DatasetEvents(studio, TEMPLATES, self.layout, view, self.links)
        own = (self.layout.find, self.layout.put, self.layout.add, self.layout.captioner)
        boxes = {*self.layout.inputs, *self.events.act_inputs, *own}
        self.values: dict[Any, Any] = {box: box.value for box in boxes}
        self.keep(self.events.enter(self.values))

    def text(self, part: str) -> str:
        return Reader(self.values.get(getattr(self.layout, part)) or "").text

    def fill(self, **values: Any) -> None:
        self.values |= {getattr(self.layout, name): value for name, value in values.items()}

    def click(self, act: str, subject: str = "", text: str = "", on: Any = None) -> Updates:
        event = gr.EventData(None, {"act": act, "clip": subject, "text": text})
        return self.keep((on or self.events).act(self.values, event))

    def keep(self, updates: Updates) -> Updates:
        chosen = {box: value.value for box, value in updates.items() if isinstance(value, gr.Dropdown) and value.value}
        plain = {box: value for box, value in updates.items() if isinstance(value, str | int | dict)} | chosen
        self.values |= {box: value for box, value in plain.items() if not _is_skipped(value)}
        return updates

    def checked(self) -> None:
        """As when the process that checks has ended."""
        key = key_of(self.studio.datasets.items("look"), "demo", "style")
        check(self.studio.settings, "look", "demo", "style", key)
        self.keep(self.events.refresh(self.values))


def _is_skipped(value: object) -> bool:
    return isinstance(value, dict) and "__type__" in value
