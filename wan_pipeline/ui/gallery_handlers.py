"""What happens in the gallery: parse, ask the gallery or the studio, map the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils

from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui import gallery_cards, settings_cards
from wan_pipeline.ui.cards import Names, notice
from wan_pipeline.ui.filling import Filler
from wan_pipeline.ui.folder import is_at_this_computer, open_folder
from wan_pipeline.ui.gallery_cards import PAGE_SIZE
from wan_pipeline.ui.gallery_tab import GalleryTab

Given = Mapping[Any, Any]
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Click:
    """What was clicked or typed, and what this browser tab has before it."""

    act: str
    clip: str
    text: str
    given: Given
    look: dict[str, Any]
    is_local: bool


class GalleryHandlers:
    """Events of the gallery."""

    def __init__(self, studio: Studio, names: Names, view: GalleryTab, filler: Filler) -> None:
        self._studio, self._gallery, self._names = studio, studio.gallery, names
        self._view, self._filler = view, filler
        self._acts: dict[str, Callable[[Click], Updates]] = {
            "older": self._turn_page,
            "newer": self._turn_page,
            "open": lambda click: self._open(click, click.clip),
            "next": self._step,
            "previous": self._step,
            "close": lambda click: self._shut(click.look),
            "star": self._star,
            "note": self._note,
            "bin": self._bin,
            "unbin": self._unbin,
            "undo": self._unbin,
            "pick": self._pick,
            "unpick": self._pick,
            "compare": self._compare,
            "folder": self._folder,
            "share": self._share,
            "verify": self._verify,
            "reuse": self._reuse,
            "vary": self._reuse,
            "frame": self._use_last_frame,
        }

    def enter(self, given: Given) -> Updates:
        """The room is opened: what lies in the folder now, and what there is to filter by."""
        self._gallery.rescan()
        return {**self._view.offer(self._gallery.facets(), self._names), **self._grid(given, given[self._view.look])}

    def search(self, given: Given) -> Updates:
        """Other words or filters: from the first page on."""
        return self._grid(given, {**given[self._view.look], "offset": 0})

    def empty_bin(self, given: Given) -> Updates:
        try:
            count = self._gallery.empty_bin()
        except UserError as error:
            return {**self.search(given), **self._toast(str(error))}
        return {**self.search(given), **self._toast(f"{count} clip{'' if count == 1 else 's'} deleted for good")}

    def act(self, given: Given, event: gr.EventData, request: gr.Request) -> Updates:
        """A click on anything. What goes wrong is said where the person looks."""
        look = given[self._view.look]
        click = Click(event.act, event.clip, event.text, given, look, is_at_this_computer(request))
        try:
            return self._acts[click.act](click)
        except UserError as error:
            return {self._view.report: notice(str(error))} if look["open"] else self._toast(str(error))

    def follow_verification(self, look: dict[str, Any]) -> Updates:
        """How verifying the open clip stands; the polling ends with it."""
        state = self._studio.verifications.of(self._gallery.clip(look["open"]).path) if look["open"] else None
        going = state is not None and not state.is_over
        report = {self._view.report: gallery_cards.verification(state)} if state else {}
        return {**report, self._view.timer: gr.skip() if going else gr.Timer(active=False)}

    # The grid

    def _grid(self, given: Given, look: dict[str, Any]) -> Updates:
        query = self._view.query(given)
        page = self._gallery.page(query, look["offset"], PAGE_SIZE)
        if not page.items and look["offset"]:  # the last clip of the last page has gone
            return self._grid(given, {**look, "offset": max(look["offset"] - PAGE_SIZE, 0)})
        return {
            self._view.grid: gallery_cards.grid(page, query, look["offset"], look["picked"]),
            self._view.count: gallery_cards.count(page.total),
            self._view.empty_bin: gr.Button(visible=query.binned and page.total > 0),
            self._view.look: {**look, "ids": [clip.id for clip in page.items]},
        }

    def _turn_page(self, click: Click) -> Updates:
        step = PAGE_SIZE if click.act == "older" else -PAGE_SIZE
        return self._grid(click.given, {**click.look, "offset": max(click.look["offset"] + step, 0)})

    def _pick(self, click: Click) -> Updates:
        """A third one takes the place of the first; "unpick" names none and picks none."""
        picked = [other for other in click.look["picked"] if other != click.clip]
        if len(picked) == len(click.look["picked"]):
            picked = [*picked, click.clip][-2:] if click.clip else []
        return self._with_picks(click, picked)

    def _with_picks(self, click: Click, picked: list[str]) -> Updates:
        bar = gallery_cards.picks([self._gallery.clip(clip_id) for clip_id in picked])
        return {**self._grid(click.given, {**click.look, "picked": picked}), self._view.picks: bar}

    # What opens over it

    def _open(self, click: Click, clip_id: str) -> Updates:
        clip = self._gallery.clip(clip_id)
        state = self._studio.verifications.of(clip.path)
        return {
            self._view.over: gallery_cards.sheet(clip, self._names, is_local=click.is_local),
            self._view.report: gallery_cards.verification(state),
            self._view.timer: gr.Timer(active=state is not None and not state.is_over),
            self._view.look: {**click.look, "open": clip_id},
        }

    def _step(self, click: Click) -> Updates:
        """To the clip beside the open one, on this page."""
        ids, current = click.look["ids"], click.look["open"]
        step = 1 if click.act == "next" else -1
        place = ids.index(current) + step if current in ids else 0
        return self._open(click, ids[min(max(place, 0), len(ids) - 1)])

    def _compare(self, click: Click) -> Updates:
        one, two = (self._gallery.clip(clip_id) for clip_id in click.look["picked"])
        return {self._view.over: settings_cards.compare(one, two, self._names)}

    def _shut(self, look: dict[str, Any]) -> Updates:
        return {self._view.over: "", self._view.report: "", self._view.look: {**look, "open": ""}}

    def _toast(self, text: str, undo: Sequence[str] = ()) -> Updates:
        return {self._view.toast: gallery_cards.toast(text, undo)}

    # What is done to a clip

    def _star(self, click: Click) -> Updates:
        """On the sheet the star changes in the browser, so that the clip plays on."""
        self._gallery.star(click.clip, not self._gallery.clip(click.clip).starred)
        return self._grid(click.given, click.look)

    def _note(self, click: Click) -> Updates:
        self._gallery.note(click.clip, click.text)
        return self._grid(click.given, click.look)

    def _bin(self, click: Click) -> Updates:
        self._gallery.bin([click.clip])
        return {**self._moved(click), **self._toast("Moved to the bin", undo=[click.clip])}

    def _unbin(self, click: Click) -> Updates:
        self._gallery.unbin(click.text.split() or [click.clip])
        return {**self._moved(click), **self._toast("Back in the gallery")}

    def _moved(self, click: Click) -> Updates:
        picked = [clip_id for clip_id in click.look["picked"] if clip_id != click.clip]
        shut = replace(click, look={**click.look, "open": ""})
        return {self._view.over: "", self._view.report: "", **self._with_picks(shut, picked)}

    def _folder(self, click: Click) -> Updates:
        if click.is_local:
            open_folder(self._gallery.clip(click.clip).path)
        return {self._view.report: gr.skip()}  # Gradio takes an empty dict for a missing answer

    def _share(self, click: Click) -> Updates:
        copy = self._studio.share_copy(self._gallery.clip(click.clip).path)
        served = processing_utils.save_file_to_cache(copy, self._view.over.GRADIO_CACHE)
        return {self._view.report: gallery_cards.share_link(Path(served))}

    def _verify(self, click: Click) -> Updates:
        self._studio.verifications.start(self._gallery.clip(click.clip).path)
        return {**self.follow_verification(click.look), self._view.timer: gr.Timer(active=True)}

    # Back to the form

    def _reuse(self, click: Click) -> Updates:
        draft = self._studio.requests.draft_of(self._gallery.clip(click.clip).request)
        self._studio.models.find(draft.model or "")
        vary = click.act == "vary"
        return {**self._filler.fill(replace(draft, seed=None) if vary else draft), **self._shut(click.look)}

    def _use_last_frame(self, click: Click) -> Updates:
        clip = self._gallery.clip(click.clip)
        image, draft = self._studio.last_frame(clip.path), self._studio.requests.draft_of(clip.request)
        return {**self._filler.go_on_from(image, draft), **self._shut(click.look)}
