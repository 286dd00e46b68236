"""The studio as one caller may use it: the same for the guests' page, the HTTP API and the tools of agents.

Each method names its action, which the table in `access.roles` allows or refuses, and looks only at what the caller
may see. What a caller may not see does not exist for them: the answer is the same as for an id that was made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from wan_pipeline.access.callers import Caller
from wan_pipeline.access.caps import Caps, Usage, check_caps, check_queue, check_usage
from wan_pipeline.access.keys import Key
from wan_pipeline.access.roles import ALLOWED, Action, NotAllowed, Role, check
from wan_pipeline.clips.comments import Comment
from wan_pipeline.clips.gallery import Clip, GalleryQuery
from wan_pipeline.errors import ModelError, UserError
from wan_pipeline.jobs.job import UNFINISHED, Job, JobState
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.studio import Studio

MAX_JOBS = 500
"""Jobs of one key that are looked at, newest first."""
DAY = timedelta(hours=24)

_submitting = Lock()
"""Between the look at a key's usage and the new job."""


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

    def __init__(self, studio: Studio, caller: Caller, caps: Caps | None = None) -> None:
        self._studio = studio
        self._caller = caller
        self._caps = caps or caller.caps or Caps()

    @property
    def caller(self) -> Caller:
        return self._caller

    @property
    def key_id(self) -> str:
        """Whom the caller's clips and comments are of: the id of a guest's key, or "" for the owner."""
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
        self._check(Action.CHOICES)
        return list(self._studio.presets.values())

    # Clips to come

    def forecast(self, draft: Draft) -> Wait:
        """Raises UserError for settings that cannot be."""
        self._check(Action.FORECAST)
        with self._without_paths():
            clip = self._studio.estimates.of_draft(draft).seconds
            return Wait(clip, self._studio.estimates.queue_seconds())

    def generate(self, draft: Draft, project: str = "") -> Job:
        """Queue a clip. A guest's goes to the project of their key. Raises UserError."""
        self._check(Action.GENERATE)
        with self._without_paths():
            if self._key is None:
                return self._studio.jobs.existing(self._studio.submit(draft, project))
            request = self._studio.requests.check(draft)
            check_caps(request, self._caps)
            with _submitting:
                check_queue(self._studio.jobs.unfinished(), self._caps)
                check_usage(self._usage(self._key), self._minutes(request), self._caps, self._key.max_clips)
                job_id = self._studio.submit(draft, self._key.project, made_by=self._key.id)
            return self._studio.jobs.existing(job_id)

    def jobs(self, limit: int = 50) -> list[Job]:
        """The caller's own jobs, newest first; for the owner all."""
        self._check(Action.FOLLOW)
        if self._key is None:
            return self._studio.jobs.recent(limit)
        return [self._told(job) for job in self._studio.jobs.of_maker(self._key.id, limit)]

    def job(self, job_id: str) -> Job:
        """Raises NotFound."""
        self._check(Action.FOLLOW)
        job = self._studio.jobs.job(job_id)
        if job is None or not (self._key is None or job.made_by == self._key.id):
            raise NotFound("There is no such clip.")
        return self._told(job)

    def preview(self, job_id: str) -> bytes | None:
        """The preview of a job that runs, an animated WebP; None while there is none. Raises NotFound."""
        job = self.job(job_id)
        return self._studio.jobs.preview(job.id) if job.is_active else None

    def draft_of_job(self, job_id: str) -> Draft:
        """The settings of a job of the caller's, to make another. Raises NotFound."""
        job = self.job(job_id)
        self._check(Action.GENERATE)
        with self._without_paths():
            return self._studio.draft_of_job(job.id)

    def cancel(self, job_id: str) -> Job:
        """Raises NotFound."""
        self._check(Action.CANCEL)
        self._studio.queue.cancel(self.job(job_id).id)
        return self.job(job_id)

    # Clips that are there

    def clips(self, offset: int = 0, limit: int = 50) -> Sequence[Clip]:
        """The clips that the caller may watch, newest first."""
        self._check(Action.WATCH)
        return self._studio.gallery.page(self._query(), offset, limit).items

    def clip(self, clip_id: str) -> Clip:
        """Raises NotFound."""
        self._check(Action.WATCH)
        query = self._query()
        try:
            clip = self._studio.gallery.clip(clip_id)
        except UserError:
            raise NotFound("There is no such clip.") from None
        is_seen = not query.project or clip.project == query.project
        is_seen = is_seen and (not query.made_by or clip.made_by in query.made_by)
        if clip.is_binned or not is_seen:
            raise NotFound("There is no such clip.")
        return clip

    def is_own(self, clip: Clip) -> bool:
        """Whether the caller made it, and may see its settings and bin it. The owner may do so with all."""
        return self._key is None or clip.made_by == self._key.id

    def video(self, clip_id: str) -> Path:
        """The clip's MP4; for a guest a copy without its receipt. Raises NotFound or StorageError."""
        clip = self.clip(clip_id)
        with self._without_paths():
            if not clip.path.is_file():
                raise NotFound("There is no such clip.")
            return clip.path if self._key is None else self._studio.share_copy(clip.path)

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
        with self._without_paths():
            self._studio.gallery.bin([clip.id])

    def comment(self, clip_id: str, text: str) -> None:
        """Raises NotFound or UserError."""
        self._check(Action.COMMENT)
        self._studio.comments.add(self.clip(clip_id).id, text, self.key_id)

    def comments(self, clip_id: str) -> list[Comment]:
        """What the owner and, for a guest, they themselves wrote. Raises NotFound."""
        self._check(Action.WATCH)
        comments = self._studio.comments.of_clip(self.clip(clip_id).id)
        return [comment for comment in comments if self._key is None or comment.key_id in ("", self._key.id)]

    # The caller

    @property
    def _key(self) -> Key | None:
        """The guest's key; None for the owner, who may have come by a key as well."""
        return None if self._caller.role is Role.OWNER else self._caller.key

    def _check(self, action: Action) -> None:
        check(self._caller.role, action)

    def _query(self) -> GalleryQuery:
        if self._key is None:
            return GalleryQuery()
        if self._key.is_visitor:
            return GalleryQuery(made_by=(self._key.id,))
        made_by = ("", self._key.id) if self._caller.role is Role.MAKE else ()
        return GalleryQuery(project=self._key.project, made_by=made_by)

    def _usage(self, key: Key) -> Usage:
        jobs = self._studio.jobs.of_maker(key.id, MAX_JOBS)
        counted = [job for job in jobs if job.state is not JobState.CANCELLED]
        today = [job for job in counted if job.created_at > datetime.now(UTC) - DAY]
        minutes = sum(sum(job.seconds.values()) / 60 if job.seconds else self._minutes(job.request) for job in today)
        return Usage(len(counted), sum(job.state in UNFINISHED for job in jobs), minutes)

    def _minutes(self, request: GenerationRequest) -> float:
        try:
            return self._studio.estimates.of_request(request).seconds / 60
        except ModelError:  # of a job that waits for a model that is gone
            return 0.0

    def _told(self, job: Job) -> Job:
        return job if self._key is None or not job.error else replace(job, error=self._without(job.error))

    @contextmanager
    def _without_paths(self) -> Iterator[None]:
        """Sentences about this machine's folders are for its owner: a guest reads names without their folder."""
        try:
            yield
        except UserError as error:
            text = str(error)
            if self._caller.is_local or (told := self._without(text)) == text:
                raise
            raise UserError(told) from error

    def _without(self, text: str) -> str:
        return _PATH.sub(lambda found: found[1], text)


_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\"]+)*[\\/]([^\\/\s'\":;,]+)")
"""An absolute path; its last part is kept."""
