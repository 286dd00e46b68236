"""What is done to many clips at once, from the bar below them, in the gallery and in the Shots room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from wan_pipeline.clips.copies.zipped import zip_clips
from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click
from wan_pipeline.ui.common.files import served_path
from wan_pipeline.ui.common.parts.clip_actions import Done
from wan_pipeline.ui.common.parts.undo import words_of_moved
from wan_pipeline.ui.common.projects import EVERYTHING, chosen_project
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.wording import plural

MAX_COMPARED = 9
"""Clips side by side."""
LEAVES = frozenset({"many-bin", "many-unbin"})
"""Clips that these were done to are chosen no more."""


def many_bar(
    templates: Templates,
    posters: Sequence[Path],
    projects: Sequence[tuple[str, str]],
    *,
    in_gallery: bool = False,
    is_binned: bool = False,
) -> str:
    """The bar of the chosen clips, by their posters; empty without any. `projects` are titles and ids to move them to.

    `in_gallery`: where clips can be compared, and all of a page chosen. `is_binned`: whether all are in the bin.
    """
    if not posters:
        return ""
    return templates.render(
        "common/many_clips.html",
        posters=posters,
        projects=projects,
        in_gallery=in_gallery,
        can_compare=2 <= len(posters) <= MAX_COMPARED,
        is_binned=is_binned,
    )


class ManyClips:
    """Each action takes the ids of the chosen clips and returns what was done. Raises UserError."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._gallery = studio, studio.gallery

    @property
    def actions(self) -> Mapping[str, Callable[[Sequence[str], Click], Done]]:
        """By `data-act` or `data-change`."""
        return {
            "many-rate": self._rate,
            "many-move": self._move,
            "many-again": self._again,
            "many-bin": self._bin,
            "many-unbin": self._unbin,
            "many-zip": self._zip,
        }

    def _rate(self, ids: Sequence[str], click: Click) -> Done:
        rating = int(click.text) if click.text.isdecimal() else 0
        for clip_id in ids:
            self._gallery.rate(clip_id, rating)
        return Done(f"{plural(len(ids), 'clip')} rated {rating}" if rating else f"{plural(len(ids), 'rating')} removed")

    def _move(self, ids: Sequence[str], click: Click) -> Done:
        if not click.text:
            return Done()
        label = chosen_project(self._studio, click.text)
        project = self._studio.projects.find(label) if label else None
        moved = self._studio.moves.move(ids, label)
        title = project.title if project else label or EVERYTHING
        there = len(self._gallery.existing(ids)) - len(moved)
        if there and not moved:
            return Done(f"{plural(there, 'clip')} {'is' if there == 1 else 'are'} in {title} already")
        text = f"{plural(len(moved), 'clip')} moved to {title}" + (f", {there} already there" if there else "")
        return Done(text, undo=words_of_moved(moved))

    def _again(self, ids: Sequence[str], _: Click) -> Done:
        prepared = [self._studio.takes.again(clip) for clip in self._gallery.existing(ids)]
        count = sum(len(self._studio.takes.queue(each)) for each in prepared)
        return Done(f"{plural(count, 'clip')} added to the queue, with new seeds")

    def _bin(self, ids: Sequence[str], _: Click) -> Done:
        """All that can be; of the others the first says why it stays."""
        done: list[str] = []
        failed: list[UserError] = []
        for clip_id in ids:
            try:
                self._gallery.bin([clip_id])
                done.append(clip_id)
            except UserError as error:
                failed.append(error)
        if failed and not done:
            raise failed[0]
        text = f"{plural(len(done), 'clip')} moved to the bin"
        if failed:
            text = f"{text}, {len(failed)} not: {failed[0]}"
        return Done(text, undo=tuple(done))

    def _unbin(self, ids: Sequence[str], _: Click) -> Done:
        self._gallery.unbin(ids)
        return Done(f"{plural(len(ids), 'clip')} back in the gallery")

    def _zip(self, ids: Sequence[str], _: Click) -> Done:
        name = f"clips_{datetime.now().astimezone():%Y-%m-%d_%H%M%S}.zip"
        path = zip_clips(self._gallery.existing(ids), served_path(name))
        return Done(f"{name} is being downloaded", download=path)
