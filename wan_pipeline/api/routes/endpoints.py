"""What `gradio_client` asks of a guest's studio: the routes of Gradio that it needs, in front of the named endpoints.

What reaches Gradio holds no file: a guest's uploads are kept here, and a request names them by what its upload was
answered with. A session belongs to the key that began it.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.roles import Action, check
from wan_pipeline.access.uploads import Uploads
from wan_pipeline.api.body import check_picture, ending_of, form_of, read_json
from wan_pipeline.api.responses import route
from wan_pipeline.api.sessions import Sessions
from wan_pipeline.api.threads import Threads
from wan_pipeline.caller_studio import NotFound
from wan_pipeline.errors import RequestError
from wan_pipeline.studio import Studio

if TYPE_CHECKING:
    from gradio.routes import App

NAMES = ("text_to_video", "image_to_video", "status")
"""Names of the endpoints, in the order of their numbers."""
MAX_SESSION_LENGTH = 64
MAX_TEXT = 20_000
"""Length of an argument, in characters; a prompt's own limit is much lower."""


class EndpointRoutes:
    """The handlers. `routes` are to be mounted behind the guard."""

    def __init__(self, studio: Studio, uploads: Uploads, threads: Threads) -> None:
        self._studio = studio
        self._uploads = uploads
        self._threads = threads
        self._gradio: App | None = None
        self._starting = asyncio.Lock()
        self._is_started = False
        self._sessions = Sessions()

    @property
    def routes(self) -> list[Route]:
        return [
            route("/config", self.describe, "GET"),
            route("/gradio_api/info", self.describe, "GET"),
            route("/gradio_api/upload", self.upload, "POST"),
            route("/gradio_api/queue/join", self.join, "POST"),
            route("/gradio_api/queue/data", self.follow, "GET"),
        ]

    def build(self) -> None:
        """Make Gradio's app. To be done before handlers of the owner's page run in other threads: what they make while
        an app is being drawn would become part of it."""
        from wan_pipeline.api.endpoints import endpoints_app

        if self._gradio is None:
            self._gradio = endpoints_app(self._studio, self._uploads.path)

    # Handlers

    async def describe(self, request: Request) -> Response:
        """Which endpoints there are, and their types."""
        self._check(request, Action.CHOICES)
        return _Passed(await self._started())

    async def upload(self, request: Request) -> Response:
        """Keep the files of a form; the answer is the list of their names."""
        key_id = self._check(request, Action.UPLOAD)
        run, add = self._threads.of(caller_of(request.scope)), self._uploads.add
        async with form_of(request, max_fields=1) as form:
            files = [value for value in form.getlist("files") if isinstance(value, UploadFile)]
            for each in files:
                check_picture(ending_of(each))
            names = [await run(partial(add, each.file, ending_of(each), key_id)) for each in files]
        if not names:
            raise RequestError("files", "There is no file in the upload; send a form (multipart) with 'files'.")
        return JSONResponse(names)

    async def join(self, request: Request) -> Response:
        """Call an endpoint."""
        key_id = self._check(request, Action.GENERATE)
        values = await read_json(request, self._threads.of(caller_of(request.scope)))
        session = _session(key_id, values.get("session_hash"))
        gradio, index = await self._started(), _index(values.get("fn_index"))
        data = _arguments(values.get("data"), len(gradio.get_blocks().fns[index].inputs))
        self._sessions.begin(key_id, session)
        body = json.dumps({"data": data, "fn_index": index, "session_hash": session})
        return _Passed(gradio, body=body.encode())

    async def follow(self, request: Request) -> Response:
        """The stream of answers to the calls of a session."""
        key_id = self._check(request, Action.FOLLOW)
        session = _session(key_id, request.query_params.get("session_hash"))
        if not self._sessions.is_begun(key_id, session):
            raise NotFound("There is no such session; call an endpoint first.")
        query = urlencode({"session_hash": session})
        return _Passed(await self._started(), query=query)

    # What they share

    def _check(self, request: Request, action: Action) -> str:
        """The id of the caller's key. Raises NotAllowed."""
        caller = caller_of(request.scope)
        check(caller.role, action)
        return caller.key_id

    async def _started(self) -> App:
        self.build()
        assert self._gradio is not None  # noqa: S101 (built just now)
        async with self._starting:
            if not self._is_started:
                blocks = self._gradio.get_blocks()
                blocks.run_startup_events()
                await blocks.run_extra_startup_events()
                self._is_started = True
        return self._gradio


class _Passed(Response):
    """The answer of another app to the request, with this query and body in place of its own."""

    def __init__(self, app: ASGIApp, query: str = "", body: bytes = b"") -> None:
        super().__init__()
        self._app = app
        self._query = query
        self._sent = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(self._sent)).encode()))
        inner = {**scope, "query_string": self._query.encode(), "headers": headers}
        is_read = False

        async def receive_body() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": self._sent, "more_body": False}

        await self._app(inner, receive_body, send)


def _session(key_id: str, session_hash: Any) -> str:
    if not isinstance(session_hash, str) or not 0 < len(session_hash) <= MAX_SESSION_LENGTH:
        raise RequestError("session_hash", f"The session_hash is no text of 1 to {MAX_SESSION_LENGTH} characters.")
    return f"{key_id}:{session_hash}"


def _index(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(NAMES):
        return value
    raise RequestError("fn_index", f"There is no endpoint of this number; call one of: {', '.join(NAMES)}.")


def _arguments(data: Any, count: int) -> list[Any]:
    """As many as the endpoint has; those that are left out stay as they are by default."""
    if not isinstance(data, list) or len(data) > count:
        raise RequestError("data", f"The data is no list of at most {count} arguments; /gradio_api/info names them.")
    return [_argument(value) for value in data] + [None] * (count - len(data))


def _argument(value: Any) -> Any:
    """A text, a number or nothing; of a file, its name alone, so that Gradio takes it for none and opens nothing."""
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return {"path": value["path"][:MAX_SESSION_LENGTH]}
    if value is not None and not isinstance(value, str | int | float):
        raise RequestError("data", f"An argument is a {type(value).__name__}; send texts, numbers and uploaded files.")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise RequestError("data", f"An argument has {len(value):,} characters, more than {MAX_TEXT:,}; shorten it.")
    return value
