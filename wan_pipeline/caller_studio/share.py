"""A guest's share of the machine: what their key has used, and whether a clip is within it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wan_pipeline.access.caps import Caps, Usage, check_caps, check_queue, check_usage
from wan_pipeline.access.keys import Key
from wan_pipeline.errors import ModelError
from wan_pipeline.jobs.job import UNFINISHED, Job, JobState
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.studio import Studio

MAX_JOBS = 500
"""Jobs of one key whose times are added up, newest first."""
DAY = timedelta(hours=24)


class GuestShare:
    """Checks a guest's clips against the caps."""

    def __init__(self, studio: Studio, caps: Caps) -> None:
        self._studio, self._caps = studio, caps

    def check(self, key: Key, request: GenerationRequest) -> None:
        """Raises UserError for a clip that is beyond the caps, or if the key's share is used up."""
        check_caps(request, self._caps)
        check_queue(self._studio.jobs.unfinished(), self._caps)
        check_usage(self._usage(key), self._minutes(request), self._caps, key.max_clips)

    def _usage(self, key: Key) -> Usage:
        since, jobs = datetime.now(UTC) - DAY, self._studio.jobs.of_maker(key.id, MAX_JOBS)
        started = [job for job in jobs if job.state is not JobState.CANCELLED or job.started_at is not None]
        minutes = sum(self._minutes_of(job) for job in started if job.created_at > since)
        waiting = sum(job.state in UNFINISHED for job in jobs)
        return Usage(self._studio.jobs.count_started(key.id), waiting, minutes)

    def _minutes_of(self, job: Job) -> float:
        """What a job has taken, also one that was cancelled on its way, or will take."""
        if job.seconds:
            return sum(job.seconds.values()) / 60
        if job.started_at is not None and job.finished_at is not None:
            return (job.finished_at - job.started_at).total_seconds() / 60
        return self._minutes(job.request)

    def _minutes(self, request: GenerationRequest) -> float:
        try:
            return self._studio.estimates.of_requests([request]).seconds / 60
        except ModelError:  # of a job that waits for a model that is gone
            return 0.0
