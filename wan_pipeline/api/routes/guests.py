"""What the page of guests asks for beside `/v1/videos`: itself, the choices of its form, forecasts, comments."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.roles import Action, check
from wan_pipeline.api.body import read_json
from wan_pipeline.api.drafts import draft_of, place_of
from wan_pipeline.api.responses import model_facts, preset_facts, route, video_id_of
from wan_pipeline.api.threads import Threads
from wan_pipeline.caller_studio import CallerStudio, NotFound, Wait
from wan_pipeline.clips.gallery.comments import Comment
from wan_pipeline.errors import RequestError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.guest import FILES, KINDS, guest_page
from wan_pipeline.wording import duration

PREVIEW_KIND = "image/webp"


class GuestRoutes:
    """The handlers. `routes` are to be mounted behind the guard."""

    def __init__(self, studio: Studio, templates: Templates, threads: Threads, login: str = "") -> None:
        """`login` is the path by which the owner may log in."""
        self._studio = studio
        self._templates = templates
        self._threads = threads
        self._login = login

    @property
    def routes(self) -> list[Route]:
        one = "/v1/videos/{video_id}"
        return [
            route("/", self.page, "GET"),
            route("/guest/{name}", self.file, "GET"),
            route("/v1/models", self.models, "GET"),
            route("/v1/forecast", self.forecast, "POST"),
            route(f"{one}/preview", self.preview, "GET"),
            route(f"{one}/comments", self.comments, "GET"),
            route(f"{one}/comments", self.comment, "POST"),
        ]

    async def page(self, request: Request) -> Response:
        caller = caller_of(request.scope)
        check(caller.role, Action.OPEN)
        project = caller.key.project if caller.key else ""
        return HTMLResponse(guest_page(self._templates, caller.role, project, self._login))

    async def file(self, request: Request) -> Response:
        check(caller_of(request.scope).role, Action.OPEN)
        path = FILES.get(request.path_params["name"])
        if path is None:
            raise NotFound("There is no such file.")
        return FileResponse(path, media_type=KINDS[path.suffix])

    async def models(self, request: Request) -> Response:
        studio = self._for(request)
        models, presets = await self._threads.run(studio.caller, lambda: (studio.models(), studio.presets()))
        styles = [preset_facts(preset) for preset in presets]
        return JSONResponse({"object": "list", "data": [model_facts(spec) for spec in models], "presets": styles})

    async def forecast(self, request: Request) -> Response:
        studio = self._for(request)
        values = await read_json(request, self._threads.of(studio.caller))
        wait = await self._threads.run(studio.caller, lambda: _forecast(studio, values))
        text = f"About {duration(wait.clip_seconds)}"
        text += f", after a wait of about {duration(wait.queue_seconds)}." if wait.queue_seconds >= 1 else "."
        return JSONResponse({"seconds": wait.clip_seconds, "queue_seconds": wait.queue_seconds, "text": text})

    async def preview(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        picture = await self._threads.run(studio.caller, lambda: studio.preview(video_id))
        return Response(picture, media_type=PREVIEW_KIND) if picture else Response(status_code=204)

    async def comments(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        comments = await self._threads.run(studio.caller, lambda: studio.comments(video_id))
        return JSONResponse({"object": "list", "data": [_comment(studio, comment) for comment in comments]})

    async def comment(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        values = await read_json(request, self._threads.of(studio.caller))
        text, frame, mark = values.get("text"), values.get("frame"), values.get("mark", [])
        if not isinstance(text, str):
            raise RequestError("text", 'A comment is a text; send one such as {"text": "The second take, please."}.')
        if frame is not None and (not isinstance(frame, int) or isinstance(frame, bool)):
            raise RequestError("frame", "The frame is not a whole number; send one such as 12, or leave it out.")
        await self._threads.run(studio.caller, lambda: studio.comment(video_id, text, frame, mark))
        return Response(status_code=204)

    def _for(self, request: Request) -> CallerStudio:
        return CallerStudio(self._studio, caller_of(request.scope))


def _forecast(studio: CallerStudio, values: Mapping[str, Any]) -> Wait:
    settings = dict(values)
    place = place_of(studio, settings)
    frames_of = partial(studio.frames_of, project=place.project, profile=place.profile)
    return studio.forecast(draft_of(settings, {}, frames_of), place.project, place.profile)


def _comment(studio: CallerStudio, comment: Comment) -> dict[str, Any]:
    author = (
        "You" if comment.key_id == studio.key_id else f"Guest {comment.key_id[:4]}" if comment.key_id else "The owner"
    )
    facts = {"author": author, "text": comment.text, "created_at": int(comment.at.timestamp())}
    return {**facts, "frame": comment.frame, "mark": comment.mark, "done": comment.is_done}
