"""Clips as the HTTP API and the tools of agents list, describe and delete them: the caller's jobs, and finished clips.

A list goes by when a clip was queued, or where its job is not known, by when it was made. Both come newest first from
the database, and a page reads from the newest to its own end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from wan_pipeline.access.roles import Action
from wan_pipeline.api.responses import video_of_clip, video_of_job
from wan_pipeline.caller_studio import CallerStudio, NotFound
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import UNFINISHED, Job, JobState

Video = dict[str, Any]
GROWTH = 4
"""Times as many clips and jobs are read when those that were read were not enough."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """Videos, newest first."""

    videos: list[Video]
    has_more: bool


@dataclass(frozen=True)
class _Entry:
    at: datetime
    video: Video


def page_of(studio: CallerStudio, limit: int, after: str | None = None) -> Page:
    """Jobs of the caller, and finished clips that they may watch; what was binned is gone.

    `after` is the id of the video before the page. Raises NotFound if there is none.
    """
    after_id = one_video(studio, after)["id"] if after is not None else None
    count = limit + 2
    while True:
        videos, is_all = _newest(studio, count)
        start = 0 if after_id is None else _place_after(after_id, videos)
        if is_all or (start is not None and len(videos) > start + limit):
            found = [] if start is None else videos[start:]
            return Page(found[:limit], len(found) > limit)
        count *= GROWTH


def one_video(studio: CallerStudio, video_id: str) -> Video:
    """Raises NotFound."""
    job = _own_job(studio, video_id)
    if job is not None and job.state is not JobState.DONE:
        return video_of_job(job)
    clip = studio.clip(video_id)
    return video_of_job(job) if job is not None else video_of_clip(clip, is_own=studio.is_own(clip))


def delete_video(studio: CallerStudio, video_id: str) -> None:
    """Cancel it, or put a finished clip into the bin. Raises NotFound, and UserError where there is nothing to do."""
    job = _own_job(studio, video_id)
    if job is not None and job.state in (*UNFINISHED, JobState.PAUSED):
        studio.cancel(video_id)
    elif job is None or job.state is JobState.DONE:
        studio.bin(video_id)
    else:
        raise UserError(f"This clip is {job.state}: there is nothing to cancel, and no clip to put into the bin.")


def _newest(studio: CallerStudio, count: int) -> tuple[list[Video], bool]:
    """The newest videos among `count` jobs and clips, and whether that is all there is.

    Clips that were found in the folder are listed in the order in which they were found, whenever they were made: so
    each has the time of the newest that was found before it at most, and a longer list begins as a shorter one does.
    """
    clips = studio.clips(limit=count)
    jobs = studio.jobs(limit=count) if studio.allows(Action.FOLLOW) else []
    times = list(accumulate((clip.made_at for clip in clips), min))
    of_clips = {job.id: job for job in (*jobs, *studio.jobs_of_clips(clips))}
    entries = {}
    for clip, at in zip(clips, times, strict=True):
        job = of_clips.get(clip.id)
        entries[clip.id] = (
            _Entry(job.created_at, video_of_job(job))
            if job
            else _Entry(at, video_of_clip(clip, is_own=studio.is_own(clip)))
        )
    done = [job for job in jobs if job.state is JobState.DONE and job.id not in entries]
    there = {clip.id for clip in studio.clips_of_jobs(done)}
    for job in jobs:
        if job.id not in entries and (job.state is not JobState.DONE or job.id in there):
            entries[job.id] = _Entry(job.created_at, video_of_job(job))
    unread = [times[-1]] if len(clips) == count else []
    unread += [jobs[-1].created_at] if len(jobs) == count else []
    since = max(unread, default=LONG_AGO)  # what was not read may be as new as that
    newest = sorted(entries.values(), key=lambda entry: (entry.at, entry.video["id"]), reverse=True)
    return [entry.video for entry in newest if entry.at > since], not unread


def _place_after(video_id: str, videos: list[Video]) -> int | None:
    return next((place for place, video in enumerate(videos, 1) if video["id"] == video_id), None)


def _own_job(studio: CallerStudio, video_id: str) -> Job | None:
    if not studio.allows(Action.FOLLOW):
        return None
    try:
        return studio.job(video_id)
    except NotFound:  # a clip that the caller did not queue
        return None
