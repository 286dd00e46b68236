"""What the Gallery shows, as HTML: values are prepared here, words and markup are in the templates.

A button's `data-act` names what it does, and the nearest `data-clip` holds the clip's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.clips.export.formats import FORMATS, PROGRAMS, TITLES
from wan_pipeline.clips.gallery import Clip, GalleryPage, GalleryQuery
from wan_pipeline.clips.gallery.comments import Comment
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.requests.texts import MAX_NOTE_CHARACTERS
from wan_pipeline.ui.common.names import Names, download_name
from wan_pipeline.ui.common.templates import Templates, clip_length, frame_size
from wan_pipeline.ui.gallery.finishing import Finishing, sound_facts
from wan_pipeline.ui.gallery.settings import differences, history, settings

PAGE_SIZE = 48
"""Clips shown at once."""


@dataclass(frozen=True)
class Tile:
    """A clip in the grid."""

    clip: Clip
    facts: str
    """When it was made, its size, its length and its project, in one line."""
    is_picked: bool
    """Whether it is picked, to compare or for an action on many."""


def grid(templates: Templates, page: GalleryPage, query: GalleryQuery, offset: int, picked: Sequence[str]) -> str:
    """One page of what the query finds, or why there is nothing."""
    tiles = [Tile(clip, _facts(clip), clip.id in picked) for clip in page.items]
    return templates.render(
        "gallery/grid.html",
        tiles=tiles,
        query=query,
        is_filtered=query != GalleryQuery(binned=query.binned),
        offset=offset,
        total=page.total,
        page_size=PAGE_SIZE,
    )


def count(templates: Templates, total: int) -> str:
    return templates.render("gallery/count.html", total=total)


def arrivals(templates: Templates, number: int) -> str:
    """Says that there are clips which the grid does not show yet; empty without any."""
    return templates.render("gallery/arrivals.html", number=number) if number else ""


def sheet(
    templates: Templates,
    names: Names,
    clip: Clip,
    comments: Sequence[Comment] = (),
    *,
    is_local: bool = False,
    finishing: Finishing | None = None,
) -> str:
    """One clip, large. `is_local`: the browser runs on the studio's own computer, so a folder can be opened."""
    facts = settings(clip.request, names) | history(clip) | sound_facts(finishing.sound if finishing else None)
    del facts["Prompt"]  # it is the headline
    return templates.render(
        "gallery/sheet.html",
        clip=clip,
        rows=[(name, [value]) for name, value in facts.items()],
        comments=comments,
        is_local=is_local,
        finishing=finishing,
        download=download_name(clip.request.seed, clip.id),
        max_note=MAX_NOTE_CHARACTERS,
        for_cut=False,
        formats=FORMATS.values(),
        programs={form: [TITLES[each] for each in PROGRAMS if PROGRAMS[each] == form] for form in FORMATS},
    )


def compare(
    templates: Templates, names: Names, clips: Sequence[Clip], shots: Mapping[str, Shot | None] | None = None
) -> str:
    """Clips under one set of controls, and the settings in which they differ. `shots` are those that they are of."""
    hashes = {clip.frames_sha256 for clip in clips}
    return templates.render(
        "gallery/compare.html",
        clips=clips,
        shots=shots or {},
        rows=differences(clips, names).items(),
        same_frames=len(hashes) == 1 and "" not in hashes,
    )


def share_link(templates: Templates, text: str, copy: Path | None) -> str:
    """Downloads the copy by itself, and offers it again. `copy` lies where Gradio serves it."""
    return templates.render("gallery/share_link.html", text=text, copy=copy)


def _facts(clip: Clip) -> str:
    made = clip.made_at.astimezone().strftime("%d %b, %H:%M")
    facts = (made, frame_size(clip.request), clip_length(clip.request), clip.project)
    return " · ".join(fact for fact in facts if fact)
