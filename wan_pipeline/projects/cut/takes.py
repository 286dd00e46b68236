"""The clips of a project that its cuts are made of."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.gallery.comments import Comments
from wan_pipeline.projects.cut.cuts import ClipsOf
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.shots.store import Shots


def clips_of(shots: Shots, gallery: Gallery, comments: Comments) -> ClipsOf:
    """What the cuts of a workspace ask of its other rooms."""
    return ClipsOf(
        picked=partial(picked_takes, shots, gallery),
        of_project=partial(_of_project, gallery),
        by_id=partial(clip_of_id, gallery),
        by_reel=partial(_by_reel, gallery),
        finals_of=shots.finals_of,
        comments=comments.of_clips,
    )


def picked_takes(shots: Shots, gallery: Gallery, project: Project) -> list[Path]:
    """The final, or else the picked take, of each shot in order; of a project without shots its starred clips."""
    if of_project := shots.all(project.label):
        return [take.clip for shot in of_project if (take := shot.shown_take) and take.clip]
    starred = list(gallery.of_project(project.label, starred=True))
    return [clip.path for clip in reversed(starred) if clip.path.is_file()]


def _of_project(gallery: Gallery, project: Project) -> list[Path]:
    return [clip.path for clip in gallery.of_project(project.label) if clip.path.is_file()]


def clip_of_id(gallery: Gallery, clip_id: str) -> Path | None:
    """The file of the clip of a whole id; None for one that is gone or in the bin."""
    found = gallery.existing([clip_id])
    return next((clip.path for clip in found if not clip.is_binned and clip.path.is_file()), None)


def _by_reel(gallery: Gallery, reel: str) -> Path | None:
    """The same of the only clip whose id begins so."""
    found = gallery.find(reel)
    return found.path if found and found.path.is_file() else None
