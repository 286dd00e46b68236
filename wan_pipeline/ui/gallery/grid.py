"""The Gallery's grid: a page of clips, and those that are chosen on whatever page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import gradio as gr

from wan_pipeline.errors import RequestError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click, Updates, Values
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.parts.many_clips import many_bar
from wan_pipeline.ui.common.projects import project_choices
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.gallery import html
from wan_pipeline.ui.gallery.html import PAGE_SIZE
from wan_pipeline.ui.gallery.layout import GalleryLayout, Selection

MAX_PICKED = 500
"""Clips that are chosen at most."""


@dataclass(frozen=True)
class Call:
    """A click, and what it is about."""

    click: Click
    values: Values
    selection: Selection
    is_local: bool
    """Whether the browser runs on the studio's own computer."""


class Grid:
    """Draws the grid and turns its pages."""

    def __init__(self, studio: Studio, templates: Templates, layout: GalleryLayout) -> None:
        self._studio, self._gallery = studio, studio.gallery
        self._templates, self._layout = templates, layout

    def draw(self, values: Values, selection: Selection) -> Updates:
        query, offset = self._layout.query(values), selection.offset
        try:
            page = self._gallery.page(query, offset, PAGE_SIZE, selection.until)
        except RequestError as error:
            return self._layout.updates(toast=toast(self._templates, str(error)))
        if not page.items and offset:  # the last clip of the last page is gone
            return self.draw(values, replace(selection, offset=max(offset - PAGE_SIZE, 0)))
        return self._layout.updates(
            grid=html.grid(self._templates, page, query, offset, selection.picked),
            count=html.count(self._templates, page.total),
            empty_bin=gr.Button(visible=query.binned and page.total > 0),
            arrivals=self.arrivals(values, selection.until),
            selection=replace(
                selection,
                ids=tuple(clip.id for clip in page.items),
                until=page.newest if selection.until is None else selection.until,
            ),
        )

    def arrivals(self, values: Values, until: int | None) -> str:
        """Empty for a grid that shows all there is, and for words that `search` refuses."""
        try:
            number = 0 if until is None else self._gallery.count_newer(self._layout.query(values), until)
        except RequestError:
            number = 0
        return html.arrivals(self._templates, number)

    def turn_page(self, call: Call) -> Updates:
        step = PAGE_SIZE if call.click.act == "older" else -PAGE_SIZE
        return self.draw(call.values, replace(call.selection, offset=max(call.selection.offset + step, 0)))

    def pick(self, call: Call) -> Updates:
        """Choose a clip, or drop it if it is chosen. "pick-page" chooses all of the page, "unpick" drops all."""
        clip_id, picked = call.click.subject, call.selection.picked
        match call.click.act:
            case "unpick":
                picked = ()
            case "pick-page":
                picked = tuple(dict.fromkeys((*picked, *call.selection.ids)))[:MAX_PICKED]
            case _ if clip_id in picked:
                picked = without(picked, clip_id)
            case _:
                picked = (*picked, clip_id)[-MAX_PICKED:]
        return self.draw_with_picks(call.values, replace(call.selection, picked=picked))

    def draw_with_picks(self, values: Values, selection: Selection) -> Updates:
        """The picks are held by id, on whatever page they are; one that was deleted meanwhile is dropped."""
        found = self._gallery.existing(selection.picked)
        picks = many_bar(
            self._templates,
            [clip.poster for clip in found],
            project_choices(self._studio),
            in_gallery=True,
            is_binned=all(clip.is_binned for clip in found),
        )
        selection = replace(selection, picked=tuple(clip.id for clip in found))
        return {**self.draw(values, selection), **self._layout.updates(picks=picks)}


def newest(selection: Selection) -> Selection:
    """The first page, with all clips there are now."""
    return replace(selection, offset=0, until=None)


def without(ids: Sequence[str], clip_id: str) -> tuple[str, ...]:
    return tuple(other for other in ids if other != clip_id)
