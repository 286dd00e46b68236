"""The Gallery: all clips of the workspace, to search, star, note, bin, compare and verify."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.gallery.events import GalleryEvents
from wan_pipeline.ui.gallery.layout import GalleryLayout


class GalleryRoom:
    """Drawn where it is constructed; `wire` binds its events."""

    def __init__(self, studio: Studio, templates: Templates, names: Names) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        self._layout = GalleryLayout()

    def wire(self, links: PageLinks) -> None:
        layout = self._layout
        events = GalleryEvents(self._studio, self._templates, self._names, layout, links)
        inputs, outputs = layout.inputs, layout.components
        links.entered(RoomId.GALLERY)(events.enter, inputs | {links.project}, outputs, **QUIET)
        links.project.change(events.open_project, inputs | {links.project}, outputs, **QUIET)
        # A dropdown's `change` fires as well when it is only offered other choices; `input` is the person's own.
        filters = [box.input if isinstance(box, gr.Dropdown) else box.change for box in layout.filters]
        gr.on(filters, events.search, inputs, outputs, trigger_mode="always_last", **QUIET)
        layout.empty_bin.click(events.empty_bin, inputs, outputs, **QUIET)
        layout.clock.tick(events.look_for_new, inputs, [layout.arrivals], trigger_mode="always_last", **QUIET)
        followed = [layout.report, layout.exported, layout.worked]
        layout.work_clock.tick(events.follow, {layout.selection}, followed, trigger_mode="always_last", **QUIET)
        for part in layout.clickable:
            # By default, Gradio drops a click while the one before it is being answered.
            part.click(events.act, inputs, [*outputs, *links.outputs], trigger_mode="multiple", **QUIET)
