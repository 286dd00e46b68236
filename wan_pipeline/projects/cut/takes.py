"""The takes of a project that are picked: the seam to its shots."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.projects.project import Project

MAX_TAKES = 2_000


def starred_clips(gallery: Gallery, project: Project) -> list[Path]:
    """The project's starred clips in the order they were made: what is picked in a project without shots."""
    query = GalleryQuery(project=project.label, starred=True)
    found = [clip for clip in gallery.page(query, 0, MAX_TAKES).items if clip.project == project.label]
    return [clip.path for clip in reversed(found) if clip.path.is_file()]
