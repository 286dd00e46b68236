"""The takes of a project that are picked."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.shots.store import Shots

MAX_TAKES = 2_000


def picked_takes(shots: Shots, gallery: Gallery, project: Project) -> list[Path]:
    """The final, or else the picked take, of each shot in order; of a project without shots its starred clips."""
    if of_project := shots.all(project.label):
        return [take.clip for shot in of_project if (take := shot.shown_take) and take.clip]
    query = GalleryQuery(project=project.label, starred=True)
    found = [clip for clip in gallery.page(query, 0, MAX_TAKES).items if clip.project == project.label]
    return [clip.path for clip in reversed(found) if clip.path.is_file()]
