"""The clips that the Cut room offers: a project's picked takes, all its takes, or what the gallery has of it."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

from wan_pipeline.clips.gallery import Clip, GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click
from wan_pipeline.ui.cut.html import ClipOffered

MAX_OFFERED = 200
MAX_NAME = 60


class Offers:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def of(self, project: str, source: str) -> list[ClipOffered]:
        """`source` is "picked", "takes" or "gallery"."""
        match source:
            case "picked":
                return self._picked(project)
            case "takes":
                return self._takes(project)
            case _:
                page = self._studio.gallery.page(GalleryQuery(project=project), 0, MAX_OFFERED)
                return [_of_clip(clip) for clip in page.items if clip.path.is_file()]

    def paths(self, project: str, click: Click) -> list[Path]:
        """The clips that a button adds. Raises UserError for one that is gone."""
        ids = [each.id for each in self._picked(project)] if click.act == "add-all" else [click.text]
        clips = self._studio.gallery.existing(ids)
        if not clips:
            raise UserError("That clip is not there any more; look at the list again.")
        return [clip.path for clip in clips]

    def _picked(self, project: str) -> list[ClipOffered]:
        """Of each shot in order its final or picked take; of a project without shots the starred clips."""
        reel = self._studio.reviews.reel(project)
        if reel:
            return [_named(each.clip, f"{each.shot.address}, take {each.take.number}") for each in reel]
        starred = list(self._studio.gallery.of_project(project, starred=True))
        return [_of_clip(clip) for clip in reversed(starred) if clip.path.is_file()][:MAX_OFFERED]

    def _takes(self, project: str) -> list[ClipOffered]:
        named = {
            take.id: f"{shot.address}, take {take.number}{', final' if take.final_of else ''}"
            for shot in self._studio.shots.all(project)
            for take in shot.done
        }
        clips = self._studio.gallery.existing(list(named)[:MAX_OFFERED])
        return [_named(clip, named[clip.id]) for clip in clips]


def _of_clip(clip: Clip) -> ClipOffered:
    return _named(clip, shorten(clip.request.prompt or clip.path.stem, MAX_NAME, placeholder="…"))


def _named(clip: Clip, name: str) -> ClipOffered:
    return ClipOffered(clip.id, name, clip.poster)
