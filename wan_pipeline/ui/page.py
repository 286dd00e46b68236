"""The page: its head, and its rooms side by side."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.common.viewer import refusal_of
from wan_pipeline.ui.create import CreateRoom
from wan_pipeline.ui.cut import CutRoom
from wan_pipeline.ui.gallery import GalleryRoom
from wan_pipeline.ui.head import PageHead
from wan_pipeline.ui.loras import LorasRoom
from wan_pipeline.ui.models import ModelsRoom
from wan_pipeline.ui.queue import QueueRoom
from wan_pipeline.ui.shots import ShotsRoom
from wan_pipeline.ui.train import TrainRoom

CACHE_LIFE = (3600, 86_400)
"""Seconds: how often to look for uploads and other temporary files, and the age at which they go."""
OPEN_ROOM_IN_ADDRESS = "() => wanStudio.openRoom()"


def build_ui(studio: Studio, add_endpoints: Callable[[], None] | None = None) -> gr.Blocks:
    """Draw all rooms, then wire them, for what one room does may show in another.

    `add_endpoints` adds those for programs.
    """
    templates, names = Templates({"refusal": refusal_of(studio)}), Names.of(studio)
    with gr.Blocks(title="Wan Studio", fill_width=True, analytics_enabled=False, delete_cache=CACHE_LIFE) as page:
        head = PageHead(studio, templates)
        tabs: dict[RoomId, gr.Tab] = {}
        with gr.Tabs(elem_id="rooms", selected=RoomId.CREATE.value) as rooms:
            with _tab(RoomId.CREATE) as tabs[RoomId.CREATE]:
                _title(templates, RoomId.CREATE)
                create = CreateRoom(studio, templates, names)
            with _tab(RoomId.QUEUE, "room") as tabs[RoomId.QUEUE]:
                _title(templates, RoomId.QUEUE)
                queue = QueueRoom(studio, templates, names)
            with _tab(RoomId.SHOTS, "room") as tabs[RoomId.SHOTS]:
                _title(templates, RoomId.SHOTS)
                shots = ShotsRoom(studio, templates)
            with _tab(RoomId.CUT, "room") as tabs[RoomId.CUT]:
                _title(templates, RoomId.CUT)
                cut = CutRoom(studio, templates)
            with _tab(RoomId.GALLERY, "room") as tabs[RoomId.GALLERY]:
                _title(templates, RoomId.GALLERY)
                gallery = GalleryRoom(studio, templates, names)
            with _tab(RoomId.LORAS, "room") as tabs[RoomId.LORAS]:
                _title(templates, RoomId.LORAS)
                loras = LorasRoom(studio, templates)
            with _tab(RoomId.TRAIN, "room") as tabs[RoomId.TRAIN]:
                _title(templates, RoomId.TRAIN)
                train = TrainRoom(studio, templates, names)
            with _tab(RoomId.MODELS, "room") as tabs[RoomId.MODELS]:
                _title(templates, RoomId.MODELS)
                models = ModelsRoom(studio, templates, names)
        links = PageLinks(page, rooms, tabs, create.filler(rooms), create.job, head.badge, head.project)
        for part in (head, create, queue, shots, cut, gallery, loras, train, models):
            part.wire(links)
        for room, tab in tabs.items():
            tab.select(None, None, None, js=f"() => wanStudio.enter('{room}')")
        page.load(None, None, None, js=OPEN_ROOM_IN_ADDRESS)
        if add_endpoints is not None:
            add_endpoints()
    return page


def _tab(room: RoomId, classes: str | None = None) -> gr.Tab:
    return gr.Tab(room.heading, id=room.value, elem_classes=classes)


def _title(templates: Templates, room: RoomId) -> None:
    """The room's own heading, for screen readers: the eye reads it in the head of the page."""
    gr.HTML(templates.render("common/room_title.html", title=room.heading), elem_classes="unseen")
