"""The Models room: what is installed, what can be downloaded, and how to add more."""

from __future__ import annotations

import gradio as gr
from gradio.events import Dependency

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.models.events import ModelsEvents
from wan_pipeline.ui.models.layout import ModelsLayout

SHOW_PROGRESS = "text => wanStudio.transferProgress(text)"
SHOW_ANSWER = "html => wanStudio.answer(html)"


class ModelsRoom:
    """Drawn where it is constructed; `wire` binds its events."""

    def __init__(self, studio: Studio, templates: Templates, names: Names) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        self._layout = ModelsLayout()

    def wire(self, links: PageLinks) -> None:
        layout = self._layout
        events = ModelsEvents(self._studio, self._templates, self._names, layout, links.filler)
        outputs = layout.components
        gr.on(links.entered(RoomId.MODELS), events.enter, None, outputs, **QUIET)
        layout.clock.tick(events.follow, [layout.shown], outputs, trigger_mode="always_last", **QUIET)
        layout.progress.change(None, layout.progress, None, js=SHOW_PROGRESS)
        for part in (layout.grid, layout.dialog):
            acted = part.click(events.act, None, [*outputs, *links.outputs], trigger_mode="multiple", **QUIET)
            self._then_look_up(acted, events)
        for entered in (layout.add.click, layout.repository.submit):
            asked = entered(events.add, [layout.repository], outputs, **QUIET)
            answered = self._then_look_up(asked, events)
            answered.then(events.refresh_after_adding, [layout.repository], outputs, **QUIET)

    def _then_look_up(self, asked: Dependency, events: ModelsEvents) -> Dependency:
        """Answer the dialog, which is shown already, once the Hub has answered."""
        layout = self._layout
        found = asked.then(events.look_up, [layout.question], [layout.answer, layout.question], **QUIET)
        found.then(None, layout.answer, None, js=SHOW_ANSWER)
        return found
