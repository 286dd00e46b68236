"""The page: its head, and its rooms side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

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
        drawn = partial(_tab, templates, tabs)
        with gr.Tabs(elem_id="rooms", selected=RoomId.CREATE.value) as rooms:
            with drawn(RoomId.CREATE):
                create = CreateRoom(studio, templates, names)
            with drawn(RoomId.QUEUE):
                queue = QueueRoom(studio, templates, names)
            with drawn(RoomId.SHOTS):
                shots = ShotsRoom(studio, templates)
            with drawn(RoomId.CUT):
                cut = CutRoom(studio, templates)
            with drawn(RoomId.GALLERY):
                gallery = GalleryRoom(studio, templates, names)
            with drawn(RoomId.LORAS):
                loras = LorasRoom(studio, templates)
            with drawn(RoomId.TRAIN):
                train = TrainRoom(studio, templates, names)
            with drawn(RoomId.MODELS):
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


@contextmanager
def _tab(templates: Templates, tabs: dict[RoomId, gr.Tab], room: RoomId) -> Iterator[None]:
    """Context manager: a room is drawn in a tab of its own, which is put into `tabs`.

    Its heading is for screen readers: the eye reads it in the head of the page.
    """
    classes = None if room is RoomId.CREATE else "room"  # Create divides the whole width by itself
    with gr.Tab(room.heading, id=room.value, elem_classes=classes) as tabs[room]:
        gr.HTML(templates.render("common/room_title.html", title=room.heading), elem_classes="unseen")
        yield
