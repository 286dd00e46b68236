"""An ASGI middleware that stands before every route: hosts, origins, keys, rates, sizes, and the headers of answers.

It decides who asks and puts that `Caller` into the request's scope; what they may do is decided where it is done, by
the table in `roles`. It knows ASGI and nothing of Gradio.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from wan_pipeline.access.callers import (
    OWNER_HERE,
    Caller,
    HostKind,
    Request,
    host_kind,
    host_name,
    is_owner_here,
    is_same_origin,
)
from wan_pipeline.access.keys import Key, Keys
from wan_pipeline.access.limits import Rate, WrongKeys
from wan_pipeline.access.roles import Role
from wan_pipeline.errors import StorageError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CALLER = "wan_studio.caller"
"""Where a scope holds its Caller."""
COOKIE = "wan_studio_key"
PARAMETER = "key"
"""Of the address that an invitation is."""
COOKIE_SECONDS = 30 * 86_400

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What the guard of one server keeps to."""

    host_names: frozenset[str] = frozenset()
    """Of `--host-name`."""
    frame_ancestors: tuple[str, ...] = ("'none'",)
    """Who may frame the page: nobody, or on a Space the Hub."""
    framed: bool = False
    """Whether the page is framed by another site, so that its cookie has to be partitioned."""
    max_body_bytes: int = 4 * 2**20
    """Of a request of a guest; uploads have their own limit."""
    max_upload_bytes: int = 128 * 2**20
    upload_paths: tuple[str, ...] = ("/gradio_api/upload", "/v1/videos")
    closed_paths: tuple[str, ...] = ("/docs", "/redoc", "/openapi.json")


@dataclass
class Limits:
    """Rates of one server. The owner at this computer has a lane of their own."""

    guest: Rate = field(default_factory=lambda: Rate(per_second=8, burst=80))
    guests_in_all: Rate = field(default_factory=lambda: Rate(per_second=24, burst=240))
    strangers: Rate = field(default_factory=lambda: Rate(per_second=4, burst=40))
    wrong_keys: WrongKeys = field(default_factory=WrongKeys)


@dataclass(frozen=True)
class _Refusal(Exception):
    status: int
    sentence: str
    retry_after: float = 0.0


class Guard:
    """Wraps an ASGI app. `refused_page` renders the page that says why somebody is not let in."""

    def __init__(
        self, app: App, keys: Keys, rules: Rules, limits: Limits, refused_page: Callable[[int, str], str]
    ) -> None:
        self._app = app
        self._keys = keys
        self._rules = rules
        self._limits = limits
        self._refused_page = refused_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = _request(scope)
        try:
            self._check_host(request)
            caller, secret_in_address = self._identify(scope, request)
            self._check_rate(request, caller)
            self._check_path(scope)
            limit = self._check_size(scope, request, caller)
        except _Refusal as refusal:
            await self._refuse(scope, request, receive, send, refusal)
            return
        if secret_in_address:
            await _redirect_with_cookie(scope, request, send, secret_in_address, framed=self._rules.framed)
            return
        scope[CALLER] = caller
        body = _BoundedBody(receive, limit)
        await self._app(scope, body.receive, body.refusing(self._with_headers(send), _too_large(limit)))

    # Who asks

    def _check_host(self, request: Request) -> None:
        if host_kind(request.host, self._rules.host_names) is HostKind.FOREIGN:
            name = host_name(request.host)[:80] or "without a name"
            raise _Refusal(403, f"This studio does not answer to the host {name}; its owner can add --host-name.")

    def _identify(self, scope: Scope, request: Request) -> tuple[Caller, str]:
        """The caller, and the key to be taken out of the address, if it is right. Raises _Refusal."""
        if request.changes_something and not is_same_origin(request):
            raise _Refusal(403, "Another web page sent this; only the studio's own page may.")
        is_here = is_owner_here(request, self._rules.host_names)
        for secret, is_in_address in _secrets(scope, request):
            key = self._find(secret)
            if key is not None:
                is_local = is_here and key.role is Role.OWNER
                return Caller(key.role, key, is_local=is_local), secret if is_in_address else ""
            if not is_here:  # an owner's browser may still hold the cookie of a key that was revoked
                self._delay_guessing(request)
        if is_here:
            return OWNER_HERE, ""
        raise _Refusal(401, "This studio is private. Open it by an invitation: a link that ends in a key.")

    def _find(self, secret: str) -> Key | None:
        try:
            key = self._keys.find(secret)
            if key is not None:
                self._keys.record_use(key)
        except StorageError as error:
            logger.warning("A key could not be checked: %s", error)
            raise _Refusal(503, "Keys cannot be checked just now; try again in a moment.", 2.0) from error
        return key

    def _delay_guessing(self, request: Request) -> None:
        if wait := self._limits.wrong_keys.wait_seconds(request.peer):
            raise _Refusal(429, "Too many wrong keys; wait a little.", wait)

    # How much

    def _check_rate(self, request: Request, caller: Caller) -> None:
        if caller.role is Role.OWNER:
            return
        wait = max(self._limits.guest.take(caller.key.id if caller.key else ""), self._limits.guests_in_all.take("all"))
        if wait:
            raise _Refusal(429, "Too many requests; wait a little.", wait)

    def _check_path(self, scope: Scope) -> None:
        if scope["path"].rstrip("/") in self._rules.closed_paths:
            raise _Refusal(404, "There is nothing here.")

    def _check_size(self, scope: Scope, request: Request, caller: Caller) -> int:
        """The most bytes that the body may have. Raises _Refusal if the request announces more."""
        rules = self._rules
        is_upload = scope["path"] in rules.upload_paths
        limit = rules.max_upload_bytes if is_upload or caller.role is Role.OWNER else rules.max_body_bytes
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > limit:
            raise _Refusal(413, _too_large(limit))
        return limit

    # Answers

    async def _refuse(self, scope: Scope, request: Request, receive: Receive, send: Send, refusal: _Refusal) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence[:100]})
            return
        wants_page = "text/html" in request.headers.get("accept", "")
        body = (self._refused_page(refusal.status, refusal.sentence) if wants_page else refusal.sentence).encode()
        kind = b"text/html; charset=utf-8" if wants_page else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        if refusal.status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="Wan Studio"'))
        if refusal.retry_after:
            headers.append((b"retry-after", str(int(refusal.retry_after) + 1).encode()))
        answer = self._with_headers(send)
        await answer({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await answer({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})

    def _with_headers(self, send: Send) -> Send:
        added = security_headers(self._rules)
        names = {name for name, _ in added} | {b"access-control-allow-origin", b"access-control-allow-credentials"}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
                message["headers"] = [*kept, *added]
            await send(message)

        return send_with_headers


def invitation(address: str, secret: str) -> str:
    """The link that lets its bearer in."""
    return f"{address.rstrip('/')}/?{urlencode({PARAMETER: secret})}"


def caller_of(scope: Scope) -> Caller:
    """Who sent the request of this scope. Raises KeyError where no guard stands before: then nobody is let in."""
    caller: Caller = scope[CALLER]
    return caller


def security_headers(rules: Rules) -> list[tuple[bytes, bytes]]:
    """Of every answer. Gradio itself needs inline scripts and styles; nothing comes from another origin."""
    policy = {
        "default-src": ("'self'",),
        "script-src": ("'self'", "'unsafe-inline'", "'unsafe-eval'"),
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
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    return headers if rules.framed else [*headers, (b"x-frame-options", b"DENY")]


def _request(scope: Scope) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope.get("client")
    return Request(client[0] if client else "", scope.get("method", "GET"), scope.get("scheme", "http"), headers)


def _secrets(scope: Scope, request: Request) -> Iterable[tuple[str, bool]]:
    """The keys that a request bears, the most deliberate first, each with whether it is in the address."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        yield token.strip(), False
        return  # a program says who it is; a cookie beside it does not count
    if scope["type"] == "http" and request.method == "GET":
        for name, value in parse_qsl(scope.get("query_string", b"").decode("latin-1")):
            if name == PARAMETER and value:
                yield value, True
    try:
        morsel = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        morsel = None
    if morsel is not None and morsel.value:
        yield morsel.value, False


async def _redirect_with_cookie(scope: Scope, request: Request, send: Send, secret: str, *, framed: bool) -> None:
    """Keep the key in a cookie that no script reads, and leave it out of the address."""
    rest = [(name, value) for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name != PARAMETER]
    target = "./" + (f"?{urlencode(rest)}" if rest else "")
    is_secure = framed or request.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    flags = "SameSite=None; Secure; Partitioned" if framed else "SameSite=Lax" + ("; Secure" if is_secure else "")
    cookie = f"{COOKIE}={secret}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; {flags}"
    headers = [(b"location", target.encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
    headers += [(b"content-length", b"0"), (b"referrer-policy", b"no-referrer")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _too_large(limit: int) -> str:
    return f"That is more than {limit // 2**20} MB, the most at a time; send less."


class _BoundedBody:
    """Ends a request when more than `limit` bytes of body have come, also if it did not announce them."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._received = 0

    @property
    def is_too_large(self) -> bool:
        return self._received > self._limit

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        return {"type": "http.disconnect"} if self.is_too_large else message

    def refusing(self, send: Send, sentence: str) -> Send:
        """`send`, but whatever the app makes of a body that ended too early is answered with 413."""
        body = sentence.encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        refused = False

        async def send_or_refuse(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and self.is_too_large:
                refused = True
                await send({"type": "http.response.start", "status": 413, "headers": headers})
                await send({"type": "http.response.body", "body": body})
            elif not refused:
                await send(message)

        return send_or_refuse
