"""The guard as an ASGI server would call it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.asynchronous import run_async
from wan_pipeline.access.callers import Caller
from wan_pipeline.access.guard import Guard, Limits, caller_of
from wan_pipeline.access.http import Rules
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.password import Password

TUNNEL = "abc.gradio.live"


def refused_page(status: int, sentence: str, asks_password: bool) -> str:
    return f"<p>{status} {sentence}{' password?' if asks_password else ''}"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


@dataclass
class Server:
    """A guard before an app that remembers who came."""

    keys: Keys
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    callers: list[Caller] = field(default_factory=list)
    received: int = 0
    password: Password | None = None

    def __post_init__(self) -> None:
        self._guard = Guard(self._app, self.keys, self.rules, self.limits, refused_page, self.password)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.callers.append(caller_of(scope))
        while scope["type"] == "http":
            message = await receive()
            if message["type"] == "http.disconnect":  # as Starlette answers a body that broke off
                await send({"type": "http.response.start", "status": 400, "headers": []})
                await send({"type": "http.response.body", "body": b"broken off"})
                return
            self.received += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        reflected = [(b"Access-Control-Allow-Origin", b"https://evil.example"), (b"x-own", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": reflected})
        await send({"type": "http.response.body", "body": b"hello"})

    def ask(
        self,
        path: str = "/",
        *,
        host: str = "127.0.0.1:7860",
        peer: str = "127.0.0.1",
        method: str = "GET",
        query: str = "",
        body: Iterable[bytes] = (b"",),
        kind: str = "http",
        **headers: str,
    ) -> Answer:
        named = [(b"host", host.encode())]
        named += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": named, "client": (peer, 5)}
        scope |= {"method": method, "scheme": "http"} if kind == "http" else {"scheme": "ws"}
        parts, sent = list(body), []

        async def receive() -> dict[str, Any]:
            if kind == "websocket":
                return {"type": "websocket.connect"}
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        run_async(self._guard(scope, receive, send))
        if not sent:
            return Answer(0, {}, "")
        start = sent[0]
        return Answer(
            start.get("status", start.get("code", 0)),
            {name.decode().lower(): value.decode() for name, value in start.get("headers", [])},
            b"".join(message.get("body", b"") for message in sent[1:]).decode(),
        )
