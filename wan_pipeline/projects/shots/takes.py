"""New takes: of a shot by its settings, and of a clip by its own, each in its project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import NewJob
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.shots.settings import from_json, layer_of, over
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.layers import settled, with_none_read
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver

Submit = Callable[[Sequence[tuple[Draft, NewJob]], RequestResolver], list[str]]
"""Queues clips that have been checked, and returns their job ids; the resolver saves their files."""
DRAFT_PROFILE = "draft"


@dataclass(frozen=True)
class Prepared:
    """Clips that have been checked and may be queued."""

    clips: tuple[tuple[Draft, NewJob], ...]
    batch: RequestResolver
    notes: tuple[str, ...] = ()
    """What was asked for and cannot be, a sentence each."""

    @property
    def requests(self) -> list[GenerationRequest]:
        return [job.request for _, job in self.clips]


class Takes:
    """Every method raises UserError for settings that cannot be, before anything is queued."""

    def __init__(
        self,
        shots: Shots,
        projects: Projects,
        clips: ProjectClips,
        requests: RequestResolver,
        submit: Submit,
    ) -> None:
        self._shots, self._projects, self._clips = shots, projects, clips
        self._requests, self._submit = requests, submit

    def queue(self, prepared: Prepared) -> list[str]:
        """Queue all of them, or none. Returns their job ids."""
        return self._submit(prepared.clips, prepared.batch) if prepared.clips else []

    def of_shots(
        self, shots: Sequence[Shot], given: Draft | None = None, profile: str | None = None, deterministic: bool = False
    ) -> Prepared:
        """One new take of each shot, with a random seed each unless `given` has one.

        Above the shot's own settings stands what is `given`. `profile` is the project's "draft" or "final", or "" for
        neither; None is its draft profile, if it has one.
        """
        batch, options = self._requests.batch(), JobOptions(deterministic=deterministic)
        return Prepared(tuple(self._of_shot(shot, given or Draft(), profile, batch, options) for shot in shots), batch)

    def again(self, clip: Clip, given: Draft | None = None, deterministic: bool = False) -> Prepared:
        """The clip once more with another seed, or with what is `given`; a take of the same shot, if it has one."""
        if clip.request_error:
            raise UserError(clip.request_error)
        given = given or Draft()
        draft = over(given, replace(self._requests.draft_of(clip.request), seed=None))
        draft = with_none_read(settled(draft)) if clip.project else draft
        batch, options = self._requests.batch(), JobOptions("", deterministic, shot=self._shots.of_take(clip.id))
        request = batch.within(self._projects.layers(clip.project)).check(draft)
        request = replace(request, layers=_origins(clip.request, request))
        return Prepared(((draft, self._clips.job(request, clip.project, options)),), batch)

    def settings_of(self, shot: Shot) -> Draft:
        """The settings that its takes get. Raises ProjectError for some that cannot be read."""
        return from_json(shot.settings, self._requests.pictures)

    def profile_of(self, shot: Shot) -> str:
        """The profile that new takes of the shot are made by: the project's draft profile, if it has one."""
        project = self._projects.find(shot.project)
        return DRAFT_PROFILE if project and not project.draft.is_empty else ""

    def _of_shot(
        self, shot: Shot, given: Draft, profile: str | None, batch: RequestResolver, options: JobOptions
    ) -> tuple[Draft, NewJob]:
        profile = self.profile_of(shot) if profile is None else profile
        layer, rest = layer_of(self.settings_of(shot))
        draft = over(given, replace(rest, prompt=rest.prompt or shot.description))
        layers = replace(self._projects.layers(shot.project, profile), shot=layer)
        request = batch.within(layers).check(draft)
        return draft, self._clips.job(request, shot.project, replace(options, shot=shot, profile=profile))


def _origins(first: GenerationRequest, again: GenerationRequest) -> dict[str, str]:
    """Where the settings of a clip that is made again come from: what is as in the first has the origin that it had."""
    if not first.layers:
        return again.layers
    same = {name for name in first.layers if getattr(first, name, None) == getattr(again, name, None)}
    return again.layers | {name: origin for name, origin in first.layers.items() if name in same}
