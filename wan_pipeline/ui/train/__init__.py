"""The Train room, the owner's alone: datasets with their captions, trainings, and what comes of them."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import QUIET
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.train.dataset_events import DatasetEvents
from wan_pipeline.ui.train.events import TrainEvents
from wan_pipeline.ui.train.layout import TrainLayout
from wan_pipeline.ui.train.shown import TrainView


class TrainRoom:
    """Drawn where it is constructed; `wire` binds its events."""

    def __init__(self, studio: Studio, templates: Templates, names: Names) -> None:
        self._studio, self._templates, self._names = studio, templates, names
        self._layout = TrainLayout()

    def wire(self, links: PageLinks) -> None:
        view = TrainView(self._studio, self._templates, self._names, self._layout, links)
        self._wire_dataset(DatasetEvents(self._studio, self._templates, self._layout, view, links), links)
        self._wire_training(TrainEvents(self._studio, self._templates, self._layout, view, links), links)

    def _wire_dataset(self, events: DatasetEvents, links: PageLinks) -> None:
        layout, inputs, outputs = self._layout, self._layout.inputs, self._layout.components
        layout.upload.upload(events.add_files, inputs | {layout.upload}, outputs, **QUIET)
        layout.add_clips.click(events.add_clips, inputs | {links.project}, outputs, **QUIET)
        layout.replace_all.click(events.replace, inputs | {layout.find, layout.put}, outputs, **QUIET)
        layout.caption.click(events.write_captions, inputs | {layout.captioner}, outputs, **QUIET)
        layout.add_all.click(events.add_tag, inputs | {layout.add}, outputs, **QUIET)
        for part in (layout.grid, layout.tags):
            part.click(events.act, inputs, outputs, trigger_mode="multiple", **QUIET)
        layout.dataset.input(events.choose, inputs, outputs, **QUIET)

    def _wire_training(self, events: TrainEvents, links: PageLinks) -> None:
        layout, inputs, outputs = self._layout, self._layout.inputs, self._layout.components
        links.entered(RoomId.TRAIN)(events.enter, inputs | {layout.captioner}, outputs, **QUIET)
        settings = [
            layout.model.input,
            layout.recipe.input,
            layout.steps.change,
            layout.dropout.change,
            layout.optimizer.input,
            layout.clips.change,
            layout.prompts.change,
        ]
        gr.on(
            [layout.clock.tick, *settings],
            events.refresh,
            inputs,
            outputs,
            trigger_mode="always_last",  # one at a time, so that no answer overtakes a newer one
            **QUIET,
        )
        layout.train.click(events.train, inputs, outputs, **QUIET)
        for part in layout.clickable:
            part.click(
                events.act, inputs | events.act_inputs, [*outputs, *links.outputs], trigger_mode="multiple", **QUIET
            )
