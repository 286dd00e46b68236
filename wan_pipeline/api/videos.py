"""`/v1/videos`: clips by HTTP, in the shape of OpenAI's API, as SGLang, LiteLLM and Dynamo serve it too.

POST   /v1/videos               queue a clip: JSON, form or multipart with pictures
GET    /v1/videos               the caller's clips, newest first
GET    /v1/videos/{id}          status (queued, in_progress, completed, failed) and progress
GET    /v1/videos/{id}/content  the MP4, or ?variant=thumbnail
POST   /v1/videos/{id}/remix    the same settings with another prompt
DELETE /v1/videos/{id}          cancel it, or put it into the bin
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.roles import Action, Role, check
from wan_pipeline.api.answers import Handler, answers_errors, id_of, video_of_job
from wan_pipeline.api.drafts import REFERENCE, draft_of, save_data_url
from wan_pipeline.api.lists import delete_video, one_video, videos_of
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import RequestError
from wan_pipeline.jobs.job import Job
from wan_pipeline.storage.outside import OutsideDataError, parse_json
from wan_pipeline.studio import Studio

WORKERS = 4
"""Requests that may use the database and the disk at a time; others wait their turn."""
MAX_FILES = 8
MAX_LIST = 100
MAX_JSON_BYTES = 32 * 2**20
"""With a picture in it."""


@dataclass
class Body:
    """The fields of a request, and its uploads in a folder that is removed afterwards."""

    values: dict[str, Any]
    folder: Path
    files: dict[str, list[Path]] = field(default_factory=dict)


class Videos:
    """The handlers. `routes` are to be mounted behind the guard."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._limiter = CapacityLimiter(WORKERS)

    @property
    def routes(self) -> list[Route]:
        one = "/v1/videos/{video_id}"
        return [
            self._route("/v1/videos", self.create, "POST"),
            self._route("/v1/videos", self.list, "GET"),
            self._route(one, self.retrieve, "GET"),
            self._route(one, self.delete, "DELETE"),
            self._route(f"{one}/content", self.content, "GET"),
            self._route(f"{one}/remix", self.remix, "POST"),
        ]

    # Handlers

    async def create(self, request: Request) -> Response:
        studio = self._for(request)
        check(studio.caller.role, Action.GENERATE)  # before a byte of the body is read
        with self._body_folder() as folder:
            body = await _read_body(request, folder)
            job = await self._run(lambda: self._generate(studio, body))
        return JSONResponse(video_of_job(job))

    async def list(self, request: Request) -> Response:
        studio, query = self._for(request), request.query_params
        limit = query.get("limit", "20")
        if not limit.isdecimal() or not 0 < int(limit[:6]) <= MAX_LIST:
            raise RequestError("limit", f"The limit '{limit[:20]}' is not one; use 1 to {MAX_LIST}.")
        videos = await self._run(lambda: videos_of(studio))
        after = query.get("after")
        if after is not None:
            places = [place for place, video in enumerate(videos) if video["id"] == after]
            videos = videos[places[0] + 1 :] if places else []
        page = videos[: int(limit)]
        ids = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return JSONResponse({"object": "list", "data": page, "has_more": len(page) < len(videos), **ids})

    async def retrieve(self, request: Request) -> Response:
        studio, video_id = self._for(request), id_of(request.path_params["video_id"])
        return JSONResponse(await self._run(lambda: one_video(studio, video_id)))

    async def content(self, request: Request) -> Response:
        studio, video_id = self._for(request), id_of(request.path_params["video_id"])
        variant = request.query_params.get("variant", "video")
        if variant not in ("video", "thumbnail"):
            raise RequestError("variant", f"There is no variant '{variant[:40]}'; use video or thumbnail.")
        get = studio.video if variant == "video" else studio.poster
        path = await self._run(lambda: get(video_id))
        kind = "video/mp4" if variant == "video" else None
        return FileResponse(path, media_type=kind, filename=f"{video_id[:8]}{path.suffix}", headers=PRIVATE)

    async def remix(self, request: Request) -> Response:
        studio, video_id = self._for(request), id_of(request.path_params["video_id"])
        check(studio.caller.role, Action.GENERATE)
        with self._body_folder() as folder:
            body = await _read_body(request, folder)
        prompt = body.values.get("prompt")
        if not isinstance(prompt, str) or set(body.values) != {"prompt"}:
            raise RequestError("prompt", "A remix takes a new prompt, and nothing else.")
        job = await self._run(lambda: studio.generate(replace(studio.draft_of_job(video_id), prompt=prompt)))
        return JSONResponse({**video_of_job(job), "remixed_from_video_id": request.path_params["video_id"]})

    async def delete(self, request: Request) -> Response:
        studio, video_id = self._for(request), id_of(request.path_params["video_id"])
        await self._run(lambda: delete_video(studio, video_id))
        return JSONResponse({"id": request.path_params["video_id"], "object": "video.deleted", "deleted": True})

    # What they share

    def _route(self, path: str, handler: Handler, method: str) -> Route:
        return Route(path, answers_errors(handler), methods=[method])

    def _for(self, request: Request) -> CallerStudio:
        return CallerStudio(self._studio, caller_of(request.scope))

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await to_thread.run_sync(work, limiter=self._limiter)

    @contextmanager
    def _body_folder(self) -> Iterator[Path]:
        folder = Path(mkdtemp(dir=self._studio.settings.cache, prefix="api-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _generate(self, studio: CallerStudio, body: Body) -> Job:
        values = dict(body.values)
        reference = values.pop(REFERENCE, None)
        if reference is not None:
            body.files[REFERENCE] = [save_data_url(_url(reference), body.folder)]
        project = values.pop("project", "")
        if project and studio.caller.role is not Role.OWNER:
            raise RequestError("project", "Clips go to the project of your key; leave the project out.")
        return studio.generate(draft_of(values, body.files, self._studio.requests), str(project))


PRIVATE = {"Cache-Control": "private, no-cache"}


async def _read_body(request: Request, folder: Path) -> Body:
    """Raises RequestError for a body that cannot be read."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            content = await request.body() or b"{}"
            values = await to_thread.run_sync(parse_json, content, MAX_JSON_BYTES)  # a picture in it takes its time
            if not isinstance(values, dict):
                raise RequestError("body", 'The body is no JSON object; send one such as {"prompt": "a red ball"}.')
            return Body(values, folder)
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            return await _read_form(request, folder)
    except (OutsideDataError, MultiPartException) as wrong:
        raise RequestError("body", f"The body cannot be read: {wrong}.") from wrong
    except ClientDisconnect:
        raise RequestError("body", "The body is larger than it may be, or did not come to its end.") from None
    raise RequestError("body", f"The body is '{kind[:60]}'; send JSON or a form.")


async def _read_form(request: Request, folder: Path) -> Body:
    body = Body({}, folder)
    async with request.form(max_files=MAX_FILES, max_fields=60) as form:
        for key, value in form.multi_items():
            name = key.removesuffix("[]")  # as some clients write the name of a list
            if isinstance(value, UploadFile):
                body.files.setdefault(name, []).append(await _save_upload(value, folder))
            elif name == "lora":
                body.values.setdefault(name, []).append(value)
            elif name in body.values:
                raise RequestError(name, f"The setting '{name[:80]}' comes twice; send it once.")
            else:
                body.values[name] = value
    return body


async def _save_upload(upload: UploadFile, folder: Path) -> Path:
    """Under a name of our own: what a request calls its file does not matter to the disk."""
    ending = Path(upload.filename or "").suffix.lower()
    path = folder / f"{uuid4().hex}{ending if ending[1:].isalnum() and len(ending) < 8 else ''}"
    with path.open("wb") as file:
        while chunk := await upload.read(2**20):
            file.write(chunk)
    return path


def _url(reference: Any) -> str:
    """The address in `input_reference`: a text, or an object with `image_url` as newer clients send it."""
    if isinstance(reference, dict):
        reference = reference.get("image_url")
    if not isinstance(reference, str):
        raise RequestError(REFERENCE, "The input_reference is an upload, or a data: URL in base64.")
    return reference
