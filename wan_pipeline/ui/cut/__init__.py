"""The Cut room: takes in order, trimmed, joined by cuts and dissolves, with titles; played, exported, taken back."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.cut.events import CutEvents
from wan_pipeline.ui.cut.layout import CutLayout


class CutRoom:
    """Drawn where it is constructed; `wire` binds its events."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates
        self._layout = CutLayout(templates)

    def wire(self, links: PageLinks) -> None:
        layout = self._layout
        events = CutEvents(self._studio, self._templates, layout, links)
        inputs, outputs = events.inputs, layout.components
        shown = [links.entered(RoomId.CUT), links.project.change, layout.source.input]
        gr.on(shown, events.refresh, inputs, outputs, trigger_mode="always_last", **QUIET)
        layout.clock.tick(events.poll, inputs, outputs, trigger_mode="always_last", **QUIET)
        layout.upload.upload(events.read_file, {*inputs, layout.upload}, outputs, **QUIET)
        for part in layout.clickable:
            part.click(events.act, inputs, outputs, trigger_mode="multiple", **QUIET)
