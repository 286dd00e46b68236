"""The takes of a project that are picked."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.shots.store import Shots


def picked_takes(shots: Shots, gallery: Gallery, project: Project) -> list[Path]:
    """The final, or else the picked take, of each shot in order; of a project without shots its starred clips."""
    if of_project := shots.all(project.label):
        return [take.clip for shot in of_project if (take := shot.shown_take) and take.clip]
    starred = list(gallery.of_project(project.label, starred=True))
    return [clip.path for clip in reversed(starred) if clip.path.is_file()]
