"""The studio as one caller may use it: the same for the guests' page, the HTTP API and the tools of agents.

Each method names its action, which the table in `access.roles` allows or refuses, and looks only at what the caller
may see. What a caller may not see does not exist for them: the answer is the same as for an id that was made up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wan_pipeline.access.callers import Caller
from wan_pipeline.access.caps import Caps
from wan_pipeline.access.roles import ALLOWED, Action, NotAllowed, check
from wan_pipeline.caller_studio.share import GuestShare
from wan_pipeline.caller_studio.view import CallerView
from wan_pipeline.clips.gallery import Clip
from wan_pipeline.clips.gallery.comments import Comment
from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.jobs.job import Job
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.projects.clips import JobOptions
from wan_pipeline.projects.reviews import ReviewedShot
from wan_pipeline.projects.shots.shot import Verdict
from wan_pipeline.requests.layers import NONE, Layers
from wan_pipeline.requests.presets import Preset, find_preset, seen_in
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio


class NotFound(UserError):
    """There is no such thing, or none that this caller may see. Servers answer it with 404."""


@dataclass(frozen=True)
class Wait:
    """How long a clip would take."""

    clip_seconds: float
    queue_seconds: float
    """Until it would begin."""


class CallerStudio:
    """What one caller may do. Every method raises NotAllowed for what the caller's role does not allow."""

    def __init__(self, studio: Studio, caller: Caller) -> None:
        self._studio = studio
        self._caller = caller
        self._view = CallerView(caller, studio.settings.folders)
        self._share = GuestShare(studio, caller.caps or Caps())
        self._key = self._view.key

    @property
    def caller(self) -> Caller:
        return self._caller

    @property
    def key_id(self) -> str:
        """Owner of the caller's clips and comments: the id of a guest's key, or "" for the owner."""
        return self._key.id if self._key else ""

    def allows(self, action: Action) -> bool:
        """Whether the table allows the action to the caller."""
        return action in ALLOWED[self._caller.role]

    # What there is

    def models(self) -> list[ModelSpec]:
        """The models that are on this machine."""
        self._check(Action.CHOICES)
        return [model.spec for model in self._studio.models.installed()]

    def presets(self) -> list[Preset]:
        """The styles that ship, and saved ones: for a guest only those of no project or of their key's."""
        self._check(Action.CHOICES)
        return list(self._presets().values())

    # Clips to come

    def frames_of(self, draft: Draft, seconds: float, project: str = "", profile: str = "") -> int:
        """The number of frames of a clip of this many seconds. Raises UserError.

        Here and below, `project` is the one that the clip is for, and `profile` its "draft" or "final"; a guest's
        project is always that of their key.
        """
        self._check(Action.FORECAST)
        with self._view.redacting_errors():
            self._check_styles(draft)
            resolver = self._studio.requests.within(self._layers(project, profile))
            settings = resolver.resolve_settings(replace(draft, prompt="any"))
            return self._studio.models.spec(settings.model).frames_of(seconds, settings.fps)

    def forecast(self, draft: Draft, project: str = "", profile: str = "") -> Wait:
        """Raises UserError for settings that cannot be."""
        self._check(Action.FORECAST)
        with self._view.redacting_errors():
            self._check_styles(draft)
            clip = self._studio.estimates.of_draft(draft, self._layers(project, profile)).seconds
            queue = self._studio.estimates.queue_seconds()
        # An exact number would reveal to a guest when somebody else queues a clip, and how long it is.
        return Wait(clip, queue if self._key is None else math.ceil(queue / 60) * 60)

    def generate(self, draft: Draft, project: str = "", profile: str = "", *, deterministic: bool = False) -> Job:
        """Queue a clip. Raises UserError."""
        self._check(Action.GENERATE)
        with self._view.redacting_errors():
            if self._key is None:
                job_id = self._studio.submit(draft, project, deterministic=deterministic, profile=profile)
                return self._studio.jobs.existing(job_id)
            key, options = self._key, JobOptions(deterministic=deterministic, made_by=self._key.id)
            self._check_styles(draft)
            job_id = self._studio.submit_for(draft, key.project, options, partial(self._share.check, key), profile)
            return self._view.job(self._studio.jobs.existing(job_id))

    def jobs(self, limit: int = 50) -> list[Job]:
        """The caller's own jobs, newest first; for the owner all."""
        self._check(Action.FOLLOW)
        if self._key is None:
            return self._studio.jobs.recent(limit)
        return [self._view.job(job) for job in self._studio.jobs.of_maker(self._key.id, limit)]

    def jobs_of_clips(self, clips: Sequence[Clip]) -> list[Job]:
        """The jobs that made those of the clips that are the caller's own, in no order."""
        if not self.allows(Action.FOLLOW):
            return []
        jobs = self._studio.jobs.of_ids([clip.id for clip in clips if self.is_own(clip)])
        return [self._view.job(job) for job in jobs if self._view.is_own_job(job)]

    def job(self, job_id: str) -> Job:
        """Raises NotFound."""
        self._check(Action.FOLLOW)
        job = self._studio.jobs.job(job_id)
        if job is None or not self._view.is_own_job(job):
            raise NotFound("There is no such clip.")
        return self._view.job(job)

    def preview(self, job_id: str) -> bytes | None:
        """The preview of a job that runs, an animated WebP; None while there is none. Raises NotFound."""
        job = self.job(job_id)
        return self._studio.jobs.preview(job.id) if job.is_active else None

    def draft_of_job(self, job_id: str) -> Draft:
        """The settings of a job of the caller's, to make another. Raises NotFound."""
        job = self.job(job_id)
        self._check(Action.GENERATE)
        with self._view.redacting_errors():
            return self._studio.drafts.of_job(job.id)

    def cancel(self, job_id: str) -> Job:
        """Raises NotFound."""
        self._check(Action.CANCEL)
        self._studio.queue.cancel(self.job(job_id).id)
        return self.job(job_id)

    # Clips that are there

    def clips(self, offset: int = 0, limit: int = 50) -> Sequence[Clip]:
        """The clips that the caller may watch, newest first, those of others without their settings."""
        self._check(Action.WATCH)
        return [self._view.clip(clip) for clip in self._studio.gallery.page(self._view.query(), offset, limit).items]

    def clip(self, clip_id: str) -> Clip:
        """As in `clips`. Raises NotFound."""
        self._check(Action.WATCH)
        found = self._studio.gallery.existing([clip_id])
        if not found or not self._view.is_seen(found[0]):
            raise NotFound("There is no such clip.")
        return self._view.clip(found[0])

    def clips_of_jobs(self, jobs: Sequence[Job]) -> list[Clip]:
        """The clips of the jobs that the caller may watch: not those in the bin, or gone."""
        self._check(Action.WATCH)
        clips = self._studio.gallery.existing(job.id for job in jobs)
        return [self._view.clip(clip) for clip in clips if self._view.is_seen(clip)]

    def is_own(self, clip: Clip) -> bool:
        """Whether the caller made it, and may see its settings and bin it. The owner may do so with all."""
        return self._view.is_own(clip)

    def video(self, clip_id: str) -> Path:
        """The clip's MP4; for a guest a copy without its receipt. Raises NotFound or StorageError."""
        clip = self.clip(clip_id)
        with self._view.redacting_errors():
            if not clip.path.is_file():
                raise NotFound("There is no such clip.")
            return clip.path if self._key is None else self._studio.derived.share_copy(clip.path)

    def poster(self, clip_id: str) -> Path:
        """Raises NotFound."""
        clip = self.clip(clip_id)
        if not clip.poster.is_file():
            raise NotFound("There is no such clip.")
        return clip.poster

    def bin(self, clip_id: str) -> None:
        """Put a clip of the caller's own into the bin. Raises NotFound or NotAllowed."""
        self._check(Action.BIN)
        clip = self.clip(clip_id)
        if not self.is_own(clip):
            raise NotAllowed("Only who made a clip, or the owner, may bin it.")
        with self._view.redacting_errors():
            self._studio.gallery.bin([clip.id])

    def comment(self, clip_id: str, text: str, frame: int | None = None, mark: object = ()) -> None:
        """Comment on the whole clip, or on a frame from 0, with a mark drawn on it. Raises NotFound or UserError."""
        self._check(Action.COMMENT)
        clip = self.clip(clip_id)
        if frame is not None and not 0 <= frame < clip.request.num_frames:
            raise UserError(f"The clip has no frame {frame}; its frames are 0 to {clip.request.num_frames - 1}.")
        self._studio.comments.add(clip.id, text, self.key_id, frame, mark)

    def comments(self, clip_id: str) -> list[Comment]:
        """What the owner and, for a guest, they themselves wrote. Raises NotFound."""
        self._check(Action.WATCH)
        comments = self._studio.comments.of_clip(self.clip(clip_id).id)
        return [comment for comment in comments if self._key is None or comment.key_id in ("", self._key.id)]

    # Review

    def reel(self) -> list[ReviewedShot]:
        """The picked takes that the caller may watch, in the order of the shots: of the key's project, or of all."""
        self._check(Action.REVIEW)
        own = self._key.project if self._key else ""
        projects = [own] if own else self._studio.shots.projects()
        reel = [each for project in projects for each in self._studio.reviews.reel(project)]
        return [replace(each, clip=self._view.clip(each.clip)) for each in reel if self._view.is_seen(each.clip)]

    def decide(self, clip_id: str, verdict: str) -> None:
        """Approve a picked take, or ask for changes. Raises NotFound or UserError."""
        self._check(Action.REVIEW)
        clip = self.clip(clip_id)
        if verdict not in tuple(Verdict):
            raise UserError(f"'{verdict[:40]}' is no verdict; use {' or '.join(Verdict)}.")
        if clip.id not in {each.take.id for each in self.reel()}:
            raise UserError("Only takes that are picked can be approved; ask the owner to pick it.")
        self._studio.reviews.decide(clip.id, Verdict(verdict), self.key_id)

    # The caller

    def _layers(self, project: str, profile: str) -> Layers:
        """The settings of the project that a clip is for. Raises ProjectError."""
        return self._studio.projects.layers(project if self._key is None else self._key.project, profile)

    def _check(self, action: Action) -> None:
        check(self._caller.role, action)

    def _presets(self) -> dict[str, Preset]:
        """The styles and qualities that exist for the caller: for a guest of one project not those of other projects.

        What their project's setup has they make clips with anyway. A visitor of a Space is a guest of no project.
        """
        presets = self._studio.presets.current()
        if self._key is None or (self._key.project == "" and not self._key.is_visitor):
            return presets
        seen = {*seen_in(presets, self._key.project), *self._styles_of_setup(self._key.project)}
        return {name: preset for name, preset in presets.items() if name in seen}

    def _styles_of_setup(self, project: str) -> set[str | None]:
        """None of a project whose file cannot be read: clips for it are refused, but what is there can be watched."""
        try:
            setup = self._studio.projects.layers(project).project
        except ProjectError:
            return set()
        return {setup.preset, setup.quality}

    def _check_styles(self, draft: Draft) -> None:
        """Raises PresetError for a style that does not exist for the caller, as for one that was made up."""
        for name in (draft.preset, draft.quality):
            if name and name.casefold() != NONE:
                find_preset(self._presets(), name)
