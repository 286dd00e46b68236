"""Clips as the HTTP API and the tools of agents list, tell and delete them: the caller's jobs, and finished clips."""

from __future__ import annotations

from typing import Any

from wan_pipeline.access.roles import Action
from wan_pipeline.api.answers import video_of_clip, video_of_job
from wan_pipeline.caller_studio import CallerStudio, NotFound
from wan_pipeline.jobs.job import UNFINISHED, Job, JobState


def videos_of(studio: CallerStudio) -> list[dict[str, Any]]:
    """Jobs of the caller, and finished clips that they may watch, newest first. What was binned is gone."""
    clips = {clip.id: clip for clip in studio.clips(limit=1000)}
    videos = {clip.id: video_of_clip(clip, is_own=studio.is_own(clip)) for clip in clips.values()}
    for job in studio.jobs(limit=1000) if studio.allows(Action.FOLLOW) else ():
        if job.state is not JobState.DONE or job.id in clips:
            videos[job.id] = video_of_job(job)
    return sorted(videos.values(), key=lambda video: video["created_at"], reverse=True)


def one_video(studio: CallerStudio, video_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    job = _own_job(studio, video_id)
    if job is not None and job.state is not JobState.DONE:
        return video_of_job(job)
    clip = studio.clip(video_id)
    return video_of_job(job) if job is not None else video_of_clip(clip, is_own=studio.is_own(clip))


def _own_job(studio: CallerStudio, video_id: str) -> Job | None:
    if not studio.allows(Action.FOLLOW):
        return None
    try:
        return studio.job(video_id)
    except NotFound:  # a clip that the caller did not queue
        return None


def delete_video(studio: CallerStudio, video_id: str) -> None:
    job = _own_job(studio, video_id)
    if job is not None and job.state in (*UNFINISHED, JobState.PAUSED):
        studio.cancel(video_id)
    elif job is None or job.state is JobState.DONE:
        studio.bin(video_id)
