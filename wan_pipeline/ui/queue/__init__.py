"""The Queue room: the list of jobs, the one being made now, and a panel that adds many clips at once."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.queue.add_many import AddManyEvents
from wan_pipeline.ui.queue.events import QueueEvents
from wan_pipeline.ui.queue.layout import QueueLayout


class QueueRoom:
    """Drawn where it is constructed; `wire` binds its events."""

    def __init__(self, studio: Studio, templates: Templates, names: Names) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        self._layout = QueueLayout(studio.presets, templates)

    def wire(self, links: PageLinks) -> None:
        self._wire_list(QueueEvents(self._studio, self._templates, self._names, self._layout, links), links)
        self._wire_add_many(AddManyEvents(self._studio, self._templates, self._layout, links), links)

    def _wire_list(self, events: QueueEvents, links: PageLinks) -> None:
        layout, inputs, outputs = self._layout, events.inputs, events.outputs
        gr.on(
            [links.entered(RoomId.QUEUE), links.project.change, layout.clock.tick],
            events.refresh,
            inputs,
            outputs,
            trigger_mode="always_last",  # one at a time, so that no answer overtakes a newer one
            **QUIET,
        )
        for part in layout.clickable:
            # By default, Gradio drops a click while the one before it is being answered.
            part.click(events.act, inputs, [*outputs, *links.outputs], trigger_mode="multiple", **QUIET)

    def _wire_add_many(self, events: AddManyEvents, links: PageLinks) -> None:
        panel = self._layout.add_many
        gr.on(
            [links.entered(RoomId.QUEUE), links.project.change, *(box.change for box in panel.inputs)],
            events.forecast,
            events.inputs,
            [panel.estimate],
            trigger_mode="always_last",
            **QUIET,
        )
        gr.on(
            [links.page.load, links.entered(RoomId.QUEUE)], events.offer_styles, panel.presets, panel.presets, **QUIET
        )
        gr.on(
            [links.page.load, links.project.change],
            events.offer_profiles,
            [links.project, panel.profile],
            panel.profile,
            **QUIET,
        )
        panel.add.click(events.add, events.inputs, events.outputs, **QUIET)
        panel.upload.upload(events.report_file, [panel.upload, links.project, panel.profile], events.outputs, **QUIET)
        panel.add_file.click(events.add_file, {panel.file, links.project, panel.profile}, events.outputs, **QUIET)
