"""`/v1/videos`: clips by HTTP, in the shape of OpenAI's API, as SGLang, LiteLLM and Dynamo serve it too.

POST   /v1/videos               queue a clip: JSON, form or multipart with pictures
GET    /v1/videos               the caller's clips, newest first
GET    /v1/videos/{id}          status (queued, in_progress, completed, failed) and progress
GET    /v1/videos/{id}/content  the MP4, or ?variant=thumbnail
POST   /v1/videos/{id}/remix    the same settings with another prompt
DELETE /v1/videos/{id}          cancel it, or put it into the bin
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.roles import Action, Role, check
from wan_pipeline.access.uploads import Uploads
from wan_pipeline.api.body import Body, Keep, charged_to, kept_in, read_body, read_json
from wan_pipeline.api.drafts import REFERENCE, VIDEOS, decode_data_url, draft_of, place_of
from wan_pipeline.api.lists import delete_video, one_video, page_of
from wan_pipeline.api.responses import id_of, route, video_id_of, video_of_job
from wan_pipeline.api.threads import Threads
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import RequestError
from wan_pipeline.jobs.job import Job
from wan_pipeline.storage.temporary import temporary_folder
from wan_pipeline.studio import Studio

MAX_LIST = 100
PRIVATE = {"Cache-Control": "private, no-cache"}


class Videos:
    """The handlers. `routes` are to be mounted behind the guard."""

    def __init__(self, studio: Studio, uploads: Uploads, threads: Threads) -> None:
        self._studio = studio
        self._uploads = uploads
        self._threads = threads

    @property
    def routes(self) -> list[Route]:
        one = "/v1/videos/{video_id}"
        return [
            route("/v1/videos", self.create, "POST"),
            route("/v1/videos", self.list, "GET"),
            route(one, self.retrieve, "GET"),
            route(one, self.delete, "DELETE"),
            route(f"{one}/content", self.content, "GET"),
            route(f"{one}/remix", self.remix, "POST"),
        ]

    # Handlers

    async def create(self, request: Request) -> Response:
        studio = self._for(request)
        check(studio.caller.role, Action.GENERATE)  # before a byte of the body is read
        async with self._keeping(studio) as keep:
            body = await read_body(request, self._threads.of(studio.caller), keep)
            job = await self._threads.run(studio.caller, lambda: self._generate(studio, body, keep))
        return JSONResponse(video_of_job(job))

    async def list(self, request: Request) -> Response:
        studio, query = self._for(request), request.query_params
        limit = query.get("limit", "20")
        if not limit.isascii() or not limit.isdecimal() or not 0 < int(limit[:6]) <= MAX_LIST:
            raise RequestError("limit", f"The limit '{limit[:20]}' is not one; use 1 to {MAX_LIST}.")
        after = query.get("after")
        after_id = id_of(after) if after is not None else None
        page = await self._threads.run(studio.caller, lambda: page_of(studio, int(limit), after_id))
        ids = [video["id"] for video in page.videos] or [None]
        data = {"object": "list", "data": page.videos, "has_more": page.has_more}
        return JSONResponse({**data, "first_id": ids[0], "last_id": ids[-1]})

    async def retrieve(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        return JSONResponse(await self._threads.run(studio.caller, lambda: one_video(studio, video_id)))

    async def content(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        variant = request.query_params.get("variant", "video")
        if variant not in ("video", "thumbnail"):
            raise RequestError("variant", f"There is no variant '{variant[:40]}'; use video or thumbnail.")
        get = studio.video if variant == "video" else studio.poster
        path = await self._threads.run(studio.caller, lambda: get(video_id))
        kind = "video/mp4" if variant == "video" else None
        return FileResponse(path, media_type=kind, filename=f"{video_id[:8]}{path.suffix}", headers=PRIVATE)

    async def remix(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        check(studio.caller.role, Action.GENERATE)
        values = await read_json(request, self._threads.of(studio.caller))
        prompt = values.get("prompt")
        if not isinstance(prompt, str) or set(values) != {"prompt"}:
            raise RequestError("prompt", "A remix takes a new prompt, and nothing else.")
        job = await self._threads.run(studio.caller, lambda: _remixed(studio, video_id, prompt))
        return JSONResponse({**video_of_job(job), "remixed_from_video_id": request.path_params["video_id"]})

    async def delete(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        await self._threads.run(studio.caller, lambda: delete_video(studio, video_id))
        return JSONResponse({"id": request.path_params["video_id"], "object": "video.deleted", "deleted": True})

    # What they share

    def _for(self, request: Request) -> CallerStudio:
        return CallerStudio(self._studio, caller_of(request.scope))

    @asynccontextmanager
    async def _keeping(self, studio: CallerStudio) -> AsyncIterator[Keep]:
        """Where the files of a request are kept: a guest's as uploads of their key, the owner's while it is read."""
        if studio.caller.role is not Role.OWNER:
            yield charged_to(self._uploads, studio.key_id)
            return
        folder = await to_thread.run_sync(temporary_folder, self._studio.settings.cache, "api")
        try:
            yield kept_in(Path(folder.name))
        finally:
            await to_thread.run_sync(folder.cleanup)

    def _generate(self, studio: CallerStudio, body: Body, keep: Keep) -> Job:
        values, files = dict(body.values), dict(body.files)
        reference = values.pop(REFERENCE, None)
        if reference is not None:
            content, ending = decode_data_url(_url(reference))
            files[REFERENCE] = [keep(io.BytesIO(content), ending)]
        place = place_of(studio, values)
        if studio.caller.role is not Role.OWNER:
            _check_guests_files(files)
        draft = draft_of(values, files, partial(studio.frames_of, project=place.project, profile=place.profile))
        return studio.generate(draft, place.project, place.profile, deterministic=place.deterministic)


def _remixed(studio: CallerStudio, video_id: str, prompt: str) -> Job:
    """A clip with the settings of another one, in its project."""
    draft, job = replace(studio.draft_of_job(video_id), prompt=prompt), studio.job(video_id)
    return studio.generate(draft, job.project, deterministic=job.deterministic)


def _check_guests_files(files: Mapping[str, object]) -> None:
    """Raises RequestError for what is the owner's to send."""
    if videos := sorted(files.keys() & VIDEOS):
        raise RequestError(videos[0], "Control videos and masks are the owner's; send pictures.")


def _url(reference: Any) -> str:
    """The address in `input_reference`: a text, or an object with `image_url` as newer clients send it."""
    if isinstance(reference, dict):
        reference = reference.get("image_url")
    if not isinstance(reference, str):
        raise RequestError(REFERENCE, "The input_reference is an upload, or a data: URL in base64.")
    return reference
