"""The Shots room: a project's shots in order, each with its takes, to make, pick, reject, rate and finish."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.shots.events import ShotsEvents
from wan_pipeline.ui.shots.layout import ShotsLayout


class ShotsRoom:
    """Drawn where it is constructed; `wire` binds its events."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates
        self._layout = ShotsLayout()

    def wire(self, links: PageLinks) -> None:
        layout = self._layout
        events = ShotsEvents(self._studio, self._templates, layout, links)
        inputs, outputs = events.inputs, layout.components
        gr.on(
            [links.entered(RoomId.SHOTS), links.project.change, layout.clock.tick],
            events.refresh,
            inputs,
            outputs,
            trigger_mode="always_last",
            **QUIET,
        )
        filters = [layout.text.change, layout.status.input, layout.scene.input]
        gr.on(filters, events.search, inputs, outputs, trigger_mode="always_last", **QUIET)
        layout.upload.upload(events.add_file, [layout.upload, links.project], outputs, **QUIET)
        pictures = [layout.pictures, links.project, layout.character]
        layout.pictures.upload(events.add_pictures, pictures, [layout.over, layout.character, layout.toast], **QUIET)
        for part in layout.clickable:
            part.click(events.act, inputs, outputs, trigger_mode="multiple", **QUIET)
