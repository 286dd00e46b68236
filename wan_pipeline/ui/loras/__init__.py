"""The LoRAs room, the owner's alone: the files, what the model chosen in Create takes of each, and notes."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.loras.events import LorasEvents
from wan_pipeline.ui.loras.layout import LorasLayout


class LorasRoom:
    """Drawn where it is constructed; `wire` binds its events."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates
        self._layout = LorasLayout()

    def wire(self, links: PageLinks) -> None:
        layout = self._layout
        events = LorasEvents(self._studio, self._templates, layout, links.filler)
        inputs, outputs = events.inputs, layout.components
        entered = links.entered(RoomId.LORAS)(events.enter, inputs, outputs, **QUIET)
        entered.then(events.follow, inputs, outputs, **QUIET)
        # A dropdown's `change` fires as well when it is only offered other choices; `input` is the person's own.
        filters = [layout.text.change, layout.folder.input, layout.fits.change]
        gr.on(filters, events.search, inputs, outputs, trigger_mode="always_last", **QUIET)
        layout.clock.tick(events.follow, inputs, outputs, trigger_mode="always_last", **QUIET)
        layout.upload.upload(events.add, inputs | {layout.upload}, outputs, **QUIET)
        # By default, Gradio drops a click while the one before it is being answered.
        layout.grid.click(events.act, events.act_inputs, [*outputs, *links.outputs], trigger_mode="multiple", **QUIET)
