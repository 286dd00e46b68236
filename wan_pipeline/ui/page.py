"""The page as a table of contents: what is on it, and which handler answers which event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from wan_pipeline.models import registry
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.studio import Studio
from wan_pipeline.ui import cards, examples
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.field import Choices
from wan_pipeline.ui.fields import LORA_SLOTS, TIMED
from wan_pipeline.ui.filling import CREATE, GALLERY, MODELS, QUEUE, Filler
from wan_pipeline.ui.gallery_handlers import GalleryHandlers
from wan_pipeline.ui.gallery_tab import GalleryTab, build_gallery
from wan_pipeline.ui.generate_tab import GenerateTab, build_tab
from wan_pipeline.ui.handlers import StageHandlers, TabHandlers
from wan_pipeline.ui.hints import HINTED
from wan_pipeline.ui.many_handlers import ManyHandlers
from wan_pipeline.ui.memory import remember
from wan_pipeline.ui.models import ModelsRoom
from wan_pipeline.ui.page_handlers import PageHandlers
from wan_pipeline.ui.queue_handlers import QueueHandlers
from wan_pipeline.ui.queue_tab import QueueTab, build_queue
from wan_pipeline.ui.stage import Stage, build_stage
from wan_pipeline.ui.theme import HEADER

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
"""Every handler is quick, so none waits in Gradio's own queue; long work is the studio's jobs."""
JOB_IN_ADDRESS = "() => new URLSearchParams(location.search).get('job') || ''"
OPEN_ROOM = "() => wanStudio.openRoom()"
SHOW_BADGE = "text => wanStudio.badge(text)"
REMEMBER_JOB = "job => wanStudio.remember(job)"


def build_ui(studio: Studio) -> gr.Blocks:
    names = cards.Names(
        models={spec.id: spec.title for spec in studio.models.specs().values()},
        presets={preset.id: preset.title for preset in studio.presets.values()},
    )
    with gr.Blocks(title="Wan Studio", fill_width=True, analytics_enabled=False) as page:
        gr.HTML(HEADER, elem_id="header")
        upload = gr.UploadButton(
            "Open a clip", file_types=[".mp4"], elem_id="clip-upload", elem_classes="quiet", size="sm"
        )
        banner = gr.HTML("", elem_id="banner")
        with gr.Tabs(elem_id="rooms", selected=CREATE) as rooms:
            with gr.Tab("Create", id=CREATE) as create_room, gr.Row(elem_id="studio"):
                with gr.Column(elem_id="form", min_width=0), gr.Tabs(elem_id="tabs") as tabs:
                    forms = {mode: build_tab(_choices(studio, mode)) for mode in Mode}
                with gr.Column(elem_id="stage", min_width=0):
                    view = build_stage(names)
            with gr.Tab("Queue", id=QUEUE, elem_classes="room") as queue_room:
                queue = build_queue(studio.presets)
            with gr.Tab("Gallery", id=GALLERY, elem_classes="room") as gallery_room:
                gallery = build_gallery()
            with gr.Tab("Models", id=MODELS, elem_classes="room") as models_room:
                models = ModelsRoom(studio, Templates(), names)
        filler = Filler(rooms, tabs, forms)
        projects = [*(tab.project for tab in forms.values()), queue.many.project]
        _wire_page(page, PageHandlers(studio, filler, banner, projects), upload, (filler, banner, projects))
        named = {CREATE: create_room, QUEUE: queue_room, GALLERY: gallery_room, MODELS: models_room}
        for name, each in named.items():
            each.select(None, None, None, js=f"() => wanStudio.enter('{name}')")
        for tab in forms.values():
            _wire_form((page, create_room), TabHandlers(studio, tab, view, filler), tab, view, filler)
            remember(page, studio, tab, QUIET)
        _wire_stage(page, StageHandlers(studio, names, view, filler), view, filler)
        _wire_queue(
            queue_room,
            (create_room, gallery_room, models_room),
            QueueHandlers(studio, names, queue, view, filler),
            queue,
            filler,
            view,
        )
        _wire_many(page, queue_room, ManyHandlers(studio, queue, forms), queue)
        _wire_gallery(gallery_room, GalleryHandlers(studio, names, gallery, filler), gallery, filler)
        links = PageLinks(
            page=page,
            rooms=rooms,
            tabs={RoomId(name): tab for name, tab in named.items()},
            filler=filler,
            job=view.job,
            badge=view.badge,
        )
        models.wire(links)
    return page


def _choices(studio: Studio, mode: Mode) -> Choices:
    """What the form offers."""
    picture = examples.PICTURES[0] if mode is Mode.IMAGE_TO_VIDEO else None
    return Choices(
        mode=mode,
        models=_offered(studio, mode),
        presets=studio.presets,
        loras=tuple(studio.loras.names()),
        prompt=picture.prompt if picture else next(iter(examples.PROMPTS.values())),
        find=lambda model_id: studio.models.spec(model_id or registry.DEFAULT_MODEL),
        offer=partial(_offered, studio, mode),
        image=picture.path if picture else None,
        speeds=studio.speeds,
    )


def _offered(studio: Studio, mode: Mode) -> tuple[ModelSpec, ...]:
    """The models that are here. Without any the first known one stands in; submitting says what lacks."""
    installed = tuple(model.spec for model in studio.models.installed() if mode in model.spec.modes)
    return installed or tuple(spec for spec in studio.models.specs().values() if mode in spec.modes)[:1]


def _wire_page(
    page: gr.Blocks,
    handlers: PageHandlers,
    upload: gr.UploadButton,
    outputs: tuple[Filler, gr.HTML, list[gr.Dropdown]],
) -> None:
    filler, banner, projects = outputs
    page.load(None, None, None, js=OPEN_ROOM)
    page.load(handlers.look_around, None, [banner, *projects], **QUIET)
    upload.upload(handlers.open_file, upload, filler.outputs, **QUIET)


def _wire_form(
    places: tuple[gr.Blocks, gr.Tab], handlers: TabHandlers, tab: GenerateTab, view: Stage, filler: Filler
) -> None:
    (page, room), form, everything = places, tab.form, tab.form.inputs
    hinted = [form[name] for name in HINTED]
    loras = [form[f"lora_{slot}"] for slot in range(LORA_SLOTS)]
    changes = [component.change for component in form.components.values()]
    timed = [form[name].change for name in TIMED if name in form.components]

    tab.generate.click(
        handlers.generate,
        everything | {tab.editing, tab.project},
        [tab.notice, view.job, tab.editing, filler.rooms],
        **QUIET,
    )
    tab.editing.change(handlers.change_editing, tab.editing, [tab.edit_bar, tab.generate], **QUIET)
    tab.stop_editing.click(None, None, tab.editing, js="() => ''")
    gr.on(changes, None, None, tab.notice, js="() => ''")
    gr.on(
        [*timed, view.strip.change, page.load],
        handlers.estimate,
        everything,
        [tab.estimate],
        trigger_mode="always_last",
        **QUIET,
    )
    sides = [form["width"], form["height"]]
    form["size"].change(handlers.change_size, everything, [tab.custom_size, *sides], **QUIET)
    fitted = [form["speed"], form["size"], form["seconds"], *form.parts.values(), *hinted]
    form["model"].change(handlers.change_model, everything, fitted, **QUIET)
    gr.on([page.load, room.select], handlers.offer_models, {form["model"]}, [form["model"]], **QUIET)
    gr.on([form["preset"].change, form["speed"].change, page.load], handlers.change_preset, everything, hinted, **QUIET)
    gr.on([lora.change for lora in loras], handlers.show_lora_rows, everything, [*tab.lora_rows], **QUIET)
    page.load(handlers.offer_loras, None, [*loras, tab.lora_hint, tab.lora_rows[0]], **QUIET)
    for button, picture in zip(tab.pictures, examples.PICTURES, strict=bool(tab.pictures)):
        button.click(partial(handlers.use_picture, picture), None, [form["image"], form["prompt"]], **QUIET)


def _wire_stage(page: gr.Blocks, handlers: StageHandlers, view: Stage, filler: Filler) -> None:
    page.load(handlers.open_page, view.job, [view.job], js=JOB_IN_ADDRESS, **QUIET)
    gr.on(
        [page.load, view.job.change, view.timer.tick],
        handlers.refresh,
        [view.job, view.shown],
        view.outputs,
        trigger_mode="always_last",  # one at a time and none lost, so an old answer cannot overtake a new one
        **QUIET,
    )
    view.job.change(None, view.job, None, js=REMEMBER_JOB)
    view.strip.click(handlers.open_clip, None, [view.job], **QUIET)
    view.cancel.click(handlers.cancel, view.job, None, **QUIET)
    view.reuse.click(handlers.reuse, view.job, filler.outputs, **QUIET)
    view.last_frame.click(handlers.use_last_frame, view.job, filler.outputs, **QUIET)


def _wire_queue(
    room: gr.Tab,
    others: Sequence[gr.Tab],
    handlers: QueueHandlers,
    view: QueueTab,
    filler: Filler,
    stage: Stage,
) -> None:
    room.select(handlers.enter, [view.look, view.shown], view.outputs, **QUIET)
    gr.on([other.select for other in others], handlers.leave, None, [view.timer], **QUIET)
    view.timer.tick(handlers.refresh, [view.look, view.shown], view.outputs, trigger_mode="always_last", **QUIET)
    for part in (view.acts, view.now_acts, view.shelves, view.rows, view.over):
        part.click(
            handlers.act,
            [view.look, view.shown],
            [*view.outputs, *filler.outputs, stage.job],
            trigger_mode="multiple",  # by default, a click while another is under way would be lost
            **QUIET,
        )
    for badge in (view.badge, stage.badge):
        badge.change(None, badge, None, js=SHOW_BADGE)


def _wire_many(page: gr.Blocks, room: gr.Tab, handlers: ManyHandlers, view: QueueTab) -> None:
    many = view.many
    gr.on(
        [room.select, *(box.change for box in many.inputs)],
        handlers.forecast,
        handlers.inputs,
        [many.forecast],
        trigger_mode="always_last",
        **QUIET,
    )
    many.add.click(handlers.add, handlers.inputs, [many.forecast, many.prompts, view.toast], **QUIET)
    seen = [many.report, many.add_file, many.chosen]
    many.upload.upload(handlers.look_at_file, many.upload, seen, **QUIET)
    many.add_file.click(handlers.add_file, [many.chosen, many.project], [*seen, view.toast], **QUIET)


def _wire_gallery(room: gr.Tab, handlers: GalleryHandlers, view: GalleryTab, filler: Filler) -> None:
    room.select(handlers.enter, view.inputs, view.outputs, **QUIET)
    filters = [box.input if isinstance(box, gr.Dropdown) else box.change for box in view.filters]
    gr.on(filters, handlers.search, view.inputs, view.outputs, trigger_mode="always_last", **QUIET)
    view.empty_bin.click(handlers.empty_bin, view.inputs, view.outputs, **QUIET)
    view.timer.tick(handlers.follow_verification, [view.look], [view.report, view.timer], **QUIET)
    for part in (view.grid, view.picks, view.over, view.toast):
        part.click(handlers.act, view.inputs, [*view.outputs, *filler.outputs], trigger_mode="multiple", **QUIET)
