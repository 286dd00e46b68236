"""The pieces of HTTP that the guard is made of: keys in requests, cookies, bounded bodies, headers of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from wan_pipeline.access.callers import Request, client_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "wan_studio_key"
PARAMETER = "key"
"""Query parameter of an invitation's address."""
COOKIE_SECONDS = 30 * 86_400


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Rules:
    """What the guard of one server keeps to."""

    host_names: frozenset[str] = frozenset()
    """Names given by `--host-name`."""
    frame_ancestors: tuple[str, ...] = ("'none'",)
    """Who may frame the page: nobody, or on a Space the Hub."""
    framed: bool = False
    """Whether the page is framed by another site, so that its cookie has to be partitioned."""
    behind_proxy: bool = False
    """Whether all requests come through a proxy that says who sent them. Then no caller is local."""
    own_paths: tuple[str, ...] = ("/gradio_api/startup-events",)
    """What the server asks itself for when it starts, from this computer, also behind a proxy."""
    max_body_bytes: int = 4 * 2**20
    """Bytes of a guest's request; uploads have their own limit."""
    max_guest_upload_bytes: int = 32 * 2**20
    max_upload_bytes: int = 128 * 2**20
    """Bytes of an owner's request."""
    max_file_bytes: int = 4 * 2**30
    """Bytes of a file that the owner uploads: LoRA files are that large. It is streamed to the disk."""
    upload_paths: tuple[str, ...] = ("/gradio_api/upload", "/v1/videos")


def request_of(scope: Scope) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope.get("client")
    return Request(client[0] if client else "", scope.get("method", "GET"), scope.get("scheme", "http"), headers)


def peer_of(request: Request, rules: Rules) -> str:
    """The address of who sent the request, which limits go by."""
    return client_address(request) if rules.behind_proxy else request.peer


def invitation(address: str, secret: str) -> str:
    """The link that lets its bearer in."""
    return f"{address.rstrip('/')}/?{urlencode({PARAMETER: secret})}"


def security_headers(rules: Rules, *, for_gradio: bool) -> list[tuple[bytes, bytes]]:
    """Headers of every answer. Gradio itself needs inline scripts, and `eval` for the `js` of its events; only the
    owner's page is Gradio's.

    Nothing comes from another origin.
    """
    policy = {
        "default-src": ("'self'",),
        "script-src": ("'self'", "'unsafe-inline'", "'unsafe-eval'") if for_gradio else ("'self'",),
        "style-src": ("'self'", "'unsafe-inline'"),
        "img-src": ("'self'", "data:", "blob:"),
        "media-src": ("'self'", "data:", "blob:"),
        "font-src": ("'self'", "data:"),
        "connect-src": ("'self'",),
        "worker-src": ("'self'", "blob:"),
        "object-src": ("'none'",),
        "base-uri": ("'self'",),
        "form-action": ("'self'",),
        "frame-ancestors": rules.frame_ancestors,
    }
    text = "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())
    headers = [
        (b"content-security-policy", text.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    return headers if rules.framed else [*headers, (b"x-frame-options", b"DENY")]


def secrets_in(scope: Scope, request: Request) -> Iterable[tuple[str, bool]]:
    """The keys that a request bears, the most deliberate first, each with whether it is in the address."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        yield token.strip(), False
        return  # a program says who it is; a cookie beside it does not count
    if scope["type"] == "http" and request.method == "GET" and scope["path"] == "/":
        for name, value in parse_qsl(scope.get("query_string", b"").decode("latin-1")):
            if name == PARAMETER and value:
                yield value, True
    try:
        morsel = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        morsel = None
    if morsel is not None and morsel.value:
        yield morsel.value, False


def key_cookie(request: Request, secret: str, *, framed: bool, seconds: int = COOKIE_SECONDS) -> str:
    """The value of a `Set-Cookie` header: no script reads it, and no other site sends it, unless it frames the page."""
    is_secure = framed or request.scheme == "https"  # uvicorn takes what a proxy says of it from loopback
    flags = "SameSite=None; Secure; Partitioned" if framed else "SameSite=Lax" + ("; Secure" if is_secure else "")
    return f"{COOKIE}={secret}; Path=/; Max-Age={seconds}; HttpOnly; {flags}"


async def send_answer(answer: Answer, send: Send, *, is_head: bool = False) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": b"" if is_head else answer.body})


def with_headers(send: Send, added: list[tuple[bytes, bytes]], *, kept: bool = True) -> Send:
    """`send` whose answers bear these headers, in place of others of their names, and let no other site read them.

    `kept`: whether a browser may keep an answer that does not say so itself.
    """
    names = {name for name, _ in added} | {b"access-control-allow-origin", b"access-control-allow-credentials"}

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
            if not kept and all(name.lower() != b"cache-control" for name, _ in own):
                own.append((b"cache-control", b"no-store"))
            message["headers"] = [*own, *added]
        await send(message)

    return send_with_headers


def with_cookie(send: Send, cookie: str) -> Send:
    """`send` that adds a cookie to the answer, and marks the answer as private, not to be cached."""

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [(name, value) for name, value in message.get("headers", []) if name.lower() != b"cache-control"]
            added = [(b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
            message["headers"] = [*others, *added]
        await send(message)

    return send_with_cookie


async def redirect_with_cookie(scope: Scope, request: Request, send: Send, secret: str, rules: Rules) -> None:
    """Keep the key in a cookie that no script reads, and leave it out of the address."""
    rest = [(name, value) for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name != PARAMETER]
    target = "./" + (f"?{urlencode(rest)}" if rest else "")
    cookie = key_cookie(request, secret, framed=rules.framed)
    headers = [(b"location", target.encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
    headers += [(b"content-length", b"0"), (b"referrer-policy", b"same-origin")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def read_body(receive: Receive, limit: int) -> bytes:
    """The body, up to `limit` bytes."""
    body = b""
    while len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:limit]


class BoundedBody:
    """Ends a request when more than `limit` bytes of body have come, also if it did not announce them."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self.received = 0
        """Bytes so far."""

    @property
    def is_too_large(self) -> bool:
        return self.received > self._limit

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        return {"type": "http.disconnect"} if self.is_too_large else message

    def refusing(self, send: Send, answer: Answer) -> Send:
        """`send`, but whatever the app makes of a body that ended too early is replaced by this answer."""
        refused = False

        async def send_or_refuse(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and self.is_too_large:
                refused = True
                await send_answer(answer, send)
            elif not refused:
                await send(message)

        return send_or_refuse
