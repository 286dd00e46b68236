"""The clips that the Cut room offers: a project's picked takes, all its takes, or what the gallery has of it."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

from wan_pipeline.clips.gallery import Clip, GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.shot import Shot, Take
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
        if click.act == "add-all":
            paths = self._studio.cuts.picked(project)
        else:
            paths = [clip.path for clip in self._studio.gallery.existing([click.text])]
        if not paths:
            raise UserError("That clip is not there any more; look at the list again.")
        return paths

    def names(self, project: str) -> dict[Path, str]:
        """What the clips of takes are called in the timeline."""
        shots = self._studio.shots.all(project)
        return {take.clip: _take_name(shot, take) for shot in shots for take in shot.done if take.clip}

    def _picked(self, project: str) -> list[ClipOffered]:
        paths = self._studio.cuts.picked(project) if self._studio.projects.find(project) or not project else []
        clips = self._studio.gallery.of_files(paths[:MAX_OFFERED])
        named = {
            take.id: _take_name(shot, take) for shot in self._studio.shots.all(project) if (take := shot.shown_take)
        }
        return [_named(clip, named[clip.id]) if clip.id in named else _of_clip(clip) for clip in clips]

    def _takes(self, project: str) -> list[ClipOffered]:
        named = {
            take.id: f"{_take_name(shot, take)}{', final' if take.final_of else ''}"
            for shot in self._studio.shots.all(project)
            for take in shot.done
        }
        clips = self._studio.gallery.existing(list(named)[:MAX_OFFERED])
        return [_named(clip, named[clip.id]) for clip in clips]


def _take_name(shot: Shot, take: Take) -> str:
    return f"{shot.address}, take {take.number}"


def _of_clip(clip: Clip) -> ClipOffered:
    return _named(clip, shorten(clip.request.prompt or clip.path.stem, MAX_NAME, placeholder="…"))


def _named(clip: Clip, name: str) -> ClipOffered:
    return ClipOffered(clip.id, name, clip.poster)
