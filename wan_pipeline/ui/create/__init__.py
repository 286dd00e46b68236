"""The Create room: the forms on the left, the clip that they make on the right."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.models.spec import Mode
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET, Updates
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.shown import changed, digests, shown_box
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create.card_styles import card_styles
from wan_pipeline.ui.create.carry import CarriedBoxes, wire_carrying
from wan_pipeline.ui.create.choices import choices_of
from wan_pipeline.ui.create.events.form import FormEvents
from wan_pipeline.ui.create.events.stage import StageEvents
from wan_pipeline.ui.create.filler import FormFiller
from wan_pipeline.ui.create.layout import FormLayout, StageLayout


class CreateRoom:
    """The room that the page opens with."""

    def __init__(self, studio: Studio, templates: Templates, names: Names) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="form", min_width=0):
                with gr.Tabs(elem_id="tabs") as self._tabs:
                    self._forms = {mode: FormLayout(choices_of(studio, mode), templates) for mode in Mode}
                self._carried = CarriedBoxes()
                self._open_mode = gr.Textbox(Mode.TEXT_TO_VIDEO.value, visible="hidden", container=False)
            with gr.Column(elem_id="stage", min_width=0):
                self._stage = StageLayout(templates, names)
        styles = card_styles(templates, studio)
        self._card_styles = gr.HTML(styles, visible="hidden")
        self._styles_shown = shown_box(digests({"styles": styles}))

    @property
    def job(self) -> gr.Textbox:
        """Id of the job on the stage."""
        return self._stage.job

    def filler(self, rooms: gr.Tabs) -> FormFiller:
        """What fills the forms; `rooms` are the tabs that this room is one of."""
        return FormFiller(rooms, self._tabs, self._forms, self._open_mode, self._templates)

    def wire(self, links: PageLinks) -> None:
        for mode, layout in self._forms.items():
            layout.tab.select(None, None, self._open_mode, js=f"() => '{mode}'")
            FormEvents(self._studio, self._templates, layout, links).wire()
        styles, shown = self._card_styles, self._styles_shown
        gr.on([links.page.load, links.entered(RoomId.CREATE)], self.restyle_cards, shown, [styles, shown], **QUIET)
        wire_carrying(self._forms, self._carried)
        StageEvents(self._studio, self._templates, self._names, self._stage, links).wire()

    def restyle_cards(self, shown: object) -> Updates:
        """The pictures of styles whose files have come or changed, and the shapes of new models' sizes."""
        styles = card_styles(self._templates, self._studio)
        wanted = digests({"styles": styles})
        if not changed(wanted, shown):
            return {self._card_styles: gr.skip()}
        return {self._card_styles: styles, self._styles_shown: wanted}
