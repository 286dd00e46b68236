"""What the page of guests asks for beside `/v1/videos`: itself, the choices of its form, forecasts, comments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from wan_pipeline.access.guard import caller_of
from wan_pipeline.api.answers import Handler, answers_errors, id_of, model_facts, read_json
from wan_pipeline.api.drafts import draft_of
from wan_pipeline.caller_studio import CallerStudio, NotFound
from wan_pipeline.clips.comments import Comment
from wan_pipeline.errors import RequestError
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.guest import FILES, KINDS, guest_page
from wan_pipeline.wording import duration

PREVIEW_KIND = "image/webp"
SHORTEST_SECONDS = 0.25


class GuestRoutes:
    """The handlers. `routes` are to be mounted behind the guard."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio = studio
        self._templates = templates

    @property
    def routes(self) -> list[Route]:
        one = "/v1/videos/{video_id}"
        return [
            _route("/", self.page, "GET"),
            _route("/guest/{name}", self.file, "GET"),
            _route("/v1/models", self.models, "GET"),
            _route("/v1/forecast", self.forecast, "POST"),
            _route(f"{one}/preview", self.preview, "GET"),
            _route(f"{one}/comments", self.comments, "GET"),
            _route(f"{one}/comments", self.comment, "POST"),
        ]

    async def page(self, request: Request) -> Response:
        caller = caller_of(request.scope)
        project = caller.key.project if caller.key else ""
        return HTMLResponse(guest_page(self._templates, caller.role, project))

    async def file(self, request: Request) -> Response:
        path = FILES.get(request.path_params["name"])
        if path is None:
            raise NotFound("There is no such file.")
        return FileResponse(path, media_type=KINDS[path.suffix])

    async def models(self, request: Request) -> Response:
        studio = self._for(request)
        models, presets = await _run(lambda: (studio.models(), studio.presets()))
        styles = [{"id": preset.id, "title": preset.title, "description": preset.description} for preset in presets]
        return JSONResponse({"object": "list", "data": [model_facts(spec) for spec in models], "presets": styles})

    async def forecast(self, request: Request) -> Response:
        studio, values = self._for(request), await read_json(request)
        wait = await _run(lambda: studio.forecast(draft_of(values, {}, self._studio.requests)))
        text = f"About {duration(wait.clip_seconds)}"
        text += f", after a wait of about {duration(wait.queue_seconds)}." if wait.queue_seconds >= 1 else "."
        return JSONResponse({"seconds": wait.clip_seconds, "queue_seconds": wait.queue_seconds, "text": text})

    async def preview(self, request: Request) -> Response:
        studio, video_id = self._for(request), _id(request)
        picture = await _run(lambda: studio.preview(video_id))
        return Response(picture, media_type=PREVIEW_KIND) if picture else Response(status_code=204)

    async def comments(self, request: Request) -> Response:
        studio, video_id = self._for(request), _id(request)
        comments = await _run(lambda: studio.comments(video_id))
        return JSONResponse({"object": "list", "data": [_comment(studio, comment) for comment in comments]})

    async def comment(self, request: Request) -> Response:
        studio, video_id = self._for(request), _id(request)
        values = await read_json(request)
        text = values.get("text")
        if not isinstance(text, str):
            raise RequestError("text", 'A comment is a text; send one such as {"text": "The second take, please."}.')
        await _run(lambda: studio.comment(video_id, text))
        return Response(status_code=204)

    def _for(self, request: Request) -> CallerStudio:
        return CallerStudio(self._studio, caller_of(request.scope))


def _route(path: str, handler: Handler, method: str) -> Route:
    return Route(path, answers_errors(handler), methods=[method])


async def _run(work: Callable[[], Any]) -> Any:
    return await to_thread.run_sync(work)


def _id(request: Request) -> str:
    return id_of(request.path_params["video_id"])


def _comment(studio: CallerStudio, comment: Comment) -> dict[str, Any]:
    author = (
        "You" if comment.key_id == studio.key_id else f"Guest {comment.key_id[:4]}" if comment.key_id else "The owner"
    )
    return {"author": author, "text": comment.text, "created_at": int(comment.at.timestamp())}
