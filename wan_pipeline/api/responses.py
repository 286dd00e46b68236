"""Answers of the HTTP API: videos and errors in the shape of OpenAI's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wan_pipeline.access.refusals import error_object
from wan_pipeline.access.roles import NotAllowed
from wan_pipeline.caller_studio import NotFound
from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import LookingOnError, RequestError, StorageError, StudioError, UserError
from wan_pipeline.jobs.job import PROBLEMS, WAITING, Job, JobState
from wan_pipeline.models.spec import ModelSpec, clip_seconds
from wan_pipeline.progress import Stage
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import GenerationRequest

PREFIX = "video_"
Handler = Callable[[Request], Awaitable[Response]]

STATUS = {
    JobState.QUEUED: "queued",
    JobState.INTERRUPTED: "queued",
    JobState.PAUSED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.DONE: "completed",
    JobState.FAILED: "failed",
    JobState.QUARANTINED: "failed",
    JobState.CANCELLED: "failed",
}
UNAVAILABLE = "The studio's disk or database is not available just now; try again in a moment."
DENOISING_SHARE = 0.85
"""Share of a clip's time that denoising takes; the rest is decoding and saving."""


def video_of_job(job: Job) -> dict[str, Any]:
    """An object of `/v1/videos` for a job of the caller's own."""
    return {
        **_video(job.id, job.created_at, job.request),
        "status": STATUS[job.state],
        "progress": _percent(job),
        "queue_position": job.jobs_ahead + 1 if job.state in WAITING and job.jobs_ahead is not None else None,
        "completed_at": _seconds(job.finished_at) if job.state is JobState.DONE else None,
        "error": _error_of(job),
    }


def video_of_clip(clip: Clip, *, is_own: bool) -> dict[str, Any]:
    """The same for a finished clip. The prompt of another caller's is left out."""
    video = _video(clip.id, clip.made_at, clip.request)
    video |= {
        "status": "completed",
        "progress": 100,
        "queue_position": None,
        "completed_at": _seconds(clip.made_at),
        "error": None,
    }
    return video if is_own else {**video, "prompt": None, "seed": None}


def model_facts(spec: ModelSpec) -> dict[str, Any]:
    """An object of `/v1/models`: in OpenAI's shape, and what a form or an agent needs to know."""
    shortest, longest = spec.length_bounds
    return {
        "id": spec.id,
        "object": "model",
        "created": 0,
        "owned_by": "wan-studio",
        "title": spec.title,
        "modes": sorted(spec.modes),
        "sizes": [f"{size.width}x{size.height}" for size in spec.sizes],
        "seconds": clip_seconds(spec.num_frames, spec.fps),
        "min_seconds": shortest,
        "max_seconds": longest,
        "fps": spec.fps,
        "steps": spec.num_inference_steps,
    }


def preset_facts(preset: Preset) -> dict[str, str]:
    """A style or a quality, as a form or an agent needs to know it."""
    return {"id": preset.id, "title": preset.title, "description": preset.description, "kind": preset.kind.value}


def address_of(request: HTTPConnection) -> str:
    """Where the program that asks finds this server. A tunnel takes the TLS off and says so."""
    is_secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    return f"{'https' if is_secure else 'http'}://{request.headers.get('host', '')}"


def id_of(text: str) -> str:
    return text.removeprefix(PREFIX)


def video_id_of(request: Request) -> str:
    """The id in the path of a request."""
    return id_of(request.path_params["video_id"])


def route(path: str, handler: Handler, method: str) -> Route:
    """A route whose handler's StudioErrors become answers."""
    return Route(path, _answering_errors(handler), methods=[method])


def error(status: int, message: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    return JSONResponse(error_object(status, message, param, code), status)


def sentence_of(wrong: StudioError) -> str:
    """The error that a program gets. Which disk failed, and where, is in the log."""
    return UNAVAILABLE if isinstance(wrong, StorageError) else str(wrong)


def _answering_errors(handler: Handler) -> Handler:
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except StudioError as wrong:
            return _answer_of(wrong)

    return answered


def _answer_of(wrong: StudioError) -> JSONResponse:
    match wrong:
        case NotAllowed():
            return error(403, str(wrong), code="not_allowed")
        case NotFound():
            return error(404, str(wrong), code="not_found")
        case LookingOnError():
            return error(409, str(wrong), code="looks_on")
        case StorageError():
            return error(503, sentence_of(wrong))
        case UserError():
            return error(400, str(wrong), param=wrong.field if isinstance(wrong, RequestError) else None)
        case _:
            return error(500, str(wrong))


def _video(clip_id: str, created_at: datetime, request: GenerationRequest) -> dict[str, Any]:
    return {
        "id": f"{PREFIX}{clip_id}",
        "object": "video",
        "model": request.model,
        "created_at": _seconds(created_at),
        "expires_at": None,
        "size": f"{request.width}x{request.height}",
        "seconds": f"{request.seconds:g}",
        "prompt": request.prompt,
        "seed": request.seed,
        "remixed_from_video_id": None,
    }


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())


def _percent(job: Job) -> int:
    if job.state is JobState.DONE:
        return 100
    if job.state is not JobState.RUNNING or job.total == 0:
        return 0
    done = job.step / job.total
    match job.stage:
        case Stage.DENOISING:
            return int(100 * DENOISING_SHARE * done)
        case Stage.DECODING:
            return int(100 * (DENOISING_SHARE + (0.99 - DENOISING_SHARE) * done))
        case Stage.SAVING:
            return 99
        case _:
            return 0


def _error_of(job: Job) -> dict[str, str] | None:
    if job.state is JobState.CANCELLED:
        return {"code": "cancelled", "message": "The clip was cancelled."}
    if job.state in PROBLEMS:
        return {"code": job.state.value, "message": job.error or "The clip could not be made."}
    return None
