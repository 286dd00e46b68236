"""Grids: one clip, or a shot's take, in every combination of some settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.clips.naming import clip_bytes
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.same import same_requests
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.shots.settings import layer_of, over
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.projects.shots.takes import Prepared, Takes
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.grids.variations import Axis, variations
from wan_pipeline.requests.layers import Layers, chosen_by, settled, with_none_read
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.storage.database import Database


@dataclass(frozen=True)
class PreparedGrid:
    """A grid that has been checked, before any of it is queued."""

    count: int
    """Its tiles."""
    prepared: Prepared
    """Requests to be made, without duplicates."""
    shared: tuple[str, ...]
    """Jobs that have, or will have, clips of the other tiles already."""

    @property
    def most_bytes(self) -> int:
        """What the clips take on the disk at most; usual clips are far smaller."""
        return sum(map(clip_bytes, self.prepared.requests))


class Grids:
    """Prepares grids; `Takes.queue` queues them. Every method raises UserError for settings that cannot be."""

    def __init__(
        self, database: Database, projects: Projects, clips: ProjectClips, requests: RequestResolver, takes: Takes
    ) -> None:
        self._database, self._projects, self._clips = database, projects, clips
        self._requests, self._takes = requests, takes

    def of_clip(
        self, base: Draft, axes: Sequence[Axis], project: str = "", options: JobOptions | None = None
    ) -> PreparedGrid:
        """A clip of the project with this label in every combination."""
        options = options or JobOptions()
        return self._grid(base, axes, project, self._projects.layers(project, options.profile), options)

    def of_shot(
        self, shot: Shot, given: Draft, axes: Sequence[Axis], profile: str | None = None, deterministic: bool = False
    ) -> PreparedGrid:
        """New takes of a shot, one for each combination."""
        profile = self._takes.profile_of(shot) if profile is None else profile
        layer, rest = layer_of(self._takes.settings_of(shot))
        base = over(given, replace(rest, prompt=rest.prompt or shot.description))
        layers = replace(self._projects.layers(shot.project, profile), shot=layer)
        options = JobOptions(deterministic=deterministic, shot=shot, profile=profile)
        return self._grid(base, axes, shot.project, layers, options)

    def of_take(self, shot: Shot, clip: Clip, axes: Sequence[Axis]) -> PreparedGrid:
        """Takes with the settings of one that is made, its seed too, in every combination."""
        if clip.request_error:
            raise UserError(clip.request_error)
        draft = self._requests.draft_of(clip.request)
        base = with_none_read(settled(draft)) if clip.project else draft
        return self._grid(base, axes, clip.project, self._projects.layers(clip.project), JobOptions(shot=shot))

    def _grid(
        self, base: Draft, axes: Sequence[Axis], project: str, layers: Layers, options: JobOptions
    ) -> PreparedGrid:
        if base.loras is None and any(each.name.startswith("lora:") for each in axes):
            base = replace(base, loras=chosen_by(base, layers).loras)  # those of the project stay beside the axis's
        batch = self._requests.batch().within(layers)
        check = batch.checker()
        drafts = variations(base, axes)
        tiles: dict[str, tuple[Draft, GenerationRequest]] = {}
        for draft in drafts:
            read = with_none_read(draft) if project else draft
            request = check(read)
            stored = request if not read.files else batch.files.saved(request, read)  # a picture's name decides frames
            tiles.setdefault(stored.to_json(), (read, stored))
        known = same_requests(self._database, [request for _, request in tiles.values()], project)
        clips = tuple(
            (draft, self._clips.job(request, project, options))
            for (draft, request), same in zip(tiles.values(), known, strict=True)
            if same is None
        )
        return PreparedGrid(len(drafts), Prepared(clips, batch), tuple(each for each in known if each))
