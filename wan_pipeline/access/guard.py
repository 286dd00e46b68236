"""An ASGI middleware that stands before every route: hosts, origins, keys, rates, sizes, and the headers of answers.

It decides who asks and puts that `Caller` into the request's scope; what they may do is decided where it is done, by
the table in `roles`. It knows ASGI and nothing of Gradio.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from anyio import to_thread

from wan_pipeline.access.callers import (
    OWNER_HERE,
    Caller,
    HostKind,
    Request,
    host_kind,
    host_name,
    is_led_here,
    is_owner_here,
    is_same_origin,
)
from wan_pipeline.access.caps import Caps
from wan_pipeline.access.http import (
    App,
    BoundedBody,
    Message,
    Receive,
    Rules,
    Scope,
    Send,
    key_cookie,
    read_body,
    redirect_with_cookie,
    request_of,
    secrets_in,
    security_headers,
    with_cookie,
    with_headers,
)
from wan_pipeline.access.keys import Key, Keys
from wan_pipeline.access.limits import Limits
from wan_pipeline.access.password import Password
from wan_pipeline.access.roles import Role
from wan_pipeline.access.visitors import VISIT, Strangers, client_address
from wan_pipeline.errors import StorageError
from wan_pipeline.progress import Throttle

CALLER = "wan_studio.caller"
"""Where a scope holds its Caller."""
LOGIN = "/login"
MAX_LOGIN_BYTES = 4096
STREAM_CHECK_SECONDS = 2.0
RefusedPage = Callable[[int, str, bool], str]
"""Renders the page for a status and a sentence, and whether it asks for the password."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Refusal(Exception):
    status: int
    sentence: str
    retry_after: float = 0.0


@dataclass(frozen=True)
class _Entry:
    """Who was let in, and what becomes of their key."""

    caller: Caller
    secret_in_address: str = ""
    """To be taken out of it."""
    new_secret: str = ""
    """Of the key that a visitor was given just now."""


class Guard:
    """Wraps an ASGI app. `refused_page` renders the page that says why somebody is not let in."""

    def __init__(
        self,
        app: App,
        keys: Keys,
        rules: Rules,
        limits: Limits,
        refused_page: RefusedPage,
        password: Password | None = None,
        strangers: Strangers | None = None,
    ) -> None:
        """`password` lets the owner in from other computers: a page asks for it. `strangers` is for a Space."""
        self._app = app
        self._keys = keys
        self._rules = rules
        self._limits = limits
        self._refused_page = refused_page
        self._password = password
        self._strangers = strangers
        self._open: Counter[str] = Counter()
        """Requests under way, by the id of their key."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = request_of(scope)
        try:
            self._check_host(request)
            if self._password is not None and scope["path"] == LOGIN and request.method == "POST":
                await self._log_in(request, receive, send)
                return
            if self._strangers is not None and scope["path"] in self._strangers.login_paths:
                await self._let_log_in(self._strangers, scope, request, receive, send)
                return
            entry = await self._let_in(scope, request)
            caller = entry.caller
            self._check_rate(request, caller)
            self._check_path(scope)
            limit = self._check_size(scope, request, caller)
        except _Refusal as refusal:
            await self._refuse(scope, request, receive, send, refusal)
            return
        framed = self._rules.framed
        if entry.secret_in_address:
            await redirect_with_cookie(scope, request, send, entry.secret_in_address, framed=framed)
            return
        if entry.new_secret:
            lasts = int(VISIT.total_seconds())
            send = with_cookie(send, key_cookie(request, entry.new_secret, framed=framed, seconds=lasts))
        scope[CALLER] = caller
        body = BoundedBody(receive, limit)
        answer = body.refusing(self._with_headers(send, caller), _too_large(limit))
        self._open[caller.key_id] += 1
        try:
            await self._app(scope, body.receive, self._while_let_in(answer, caller))
        finally:
            self._open[caller.key_id] -= 1
            self._open += Counter()  # forgets those that are at 0

    # Who asks

    def _check_host(self, request: Request) -> None:
        if host_kind(request.host, self._rules.host_names) is HostKind.FOREIGN:
            name = host_name(request.host)[:80] or "without a name"
            raise _Refusal(403, f"This studio does not answer to the host {name}; its owner can add --host-name.")

    async def _let_in(self, scope: Scope, request: Request) -> _Entry:
        """Raises _Refusal for whoever is not let in. Keys are looked up in a thread: the database may be busy."""
        if self._strangers is None and not any(secrets_in(scope, request)):
            return self._identify(scope, request)
        return await to_thread.run_sync(self._identify, scope, request)

    def _identify(self, scope: Scope, request: Request) -> _Entry:
        if request.changes_something and not is_same_origin(request):
            raise _Refusal(403, "Another web page sent this; only the studio's own page may.")
        has_owner = not self._rules.behind_proxy or scope["path"] in self._rules.own_paths
        is_here = has_owner and is_owner_here(request, self._rules.host_names)
        for secret, is_in_address in secrets_in(scope, request):
            if is_in_address and is_led_here(request, self._rules.host_names):
                continue  # another site's link would make the owner of this computer a guest, in its author's sight
            if self._password is not None and self._password.has_session(secret):
                return _Entry(Caller(Role.OWNER, is_local=is_here))
            key = self._find(secret)
            if key is not None:
                is_local = is_here and key.role is Role.OWNER
                caller = Caller(key.role, key, is_local=is_local, caps=self._caps(key))
                return _Entry(caller, secret_in_address=secret if is_in_address else "")
            if not is_here:  # an owner's browser may still hold the cookie of a key that was revoked
                self._delay_guessing(request)
        if is_here:
            return _Entry(OWNER_HERE)
        if self._strangers is not None and scope["path"] == "/" and request.method == "GET":
            return self._admit(self._strangers, request)
        raise _Refusal(401, "This studio is private. Open it by an invitation: a link that ends in a key.")

    def _admit(self, strangers: Strangers, request: Request) -> _Entry:
        """Give a visitor a key. Raises _Refusal."""
        if wait := strangers.visitors.wait_seconds(self._peer(request)):
            raise _Refusal(429, "Many people have just come here; wait a little, then open the page again.", wait)
        try:
            secret, key = strangers.visitors.admit()
        except StorageError as error:
            raise self._unavailable(error) from error
        return _Entry(Caller(key.role, key, caps=self._caps(key)), new_secret=secret)

    def _caps(self, key: Key) -> Caps | None:
        return self._strangers.visitors.caps if self._strangers is not None and key.is_visitor else None

    def _peer(self, request: Request) -> str:
        return client_address(request) if self._rules.behind_proxy else request.peer

    async def _let_log_in(
        self, strangers: Strangers, scope: Scope, request: Request, receive: Receive, send: Send
    ) -> None:
        """Anybody may ask for the routes of the login. Raises _Refusal for whoever asks too often."""
        if wait := self._limits.strangers.take(self._peer(request)):
            raise _Refusal(429, "Too many tries; wait a little.", wait)
        if strangers.login is None or scope["type"] != "http":
            raise _Refusal(404, "There is nothing here.")
        await strangers.login(scope, BoundedBody(receive, MAX_LOGIN_BYTES).receive, self._with_headers(send, None))

    def _find(self, secret: str) -> Key | None:
        try:
            key = self._keys.find(secret)
            if key is not None:
                self._keys.record_use(key)
        except StorageError as error:
            raise self._unavailable(error) from error
        return key

    @staticmethod
    def _unavailable(error: StorageError) -> _Refusal:
        logger.warning("A key could not be checked: %s", error)
        return _Refusal(503, "Keys cannot be checked just now; try again in a moment.", 2.0)

    async def _log_in(self, request: Request, receive: Receive, send: Send) -> None:
        """Check the password of a form and give the browser an owner's key. Raises _Refusal."""
        if not is_same_origin(request):
            raise _Refusal(403, "Another web page sent this; only the studio's own page may.")
        if wait := self._limits.wrong_keys.wait_seconds(self._peer(request)):
            raise _Refusal(429, "Too many tries; wait a little.", wait)
        body = await read_body(receive, MAX_LOGIN_BYTES)
        typed = dict(parse_qsl(body.decode("utf-8", "replace"))).get("password", "")
        if self._password is None or not await to_thread.run_sync(self._password.matches, typed):
            raise _Refusal(401, "That is not the password; try again.")
        secret = self._password.new_session()
        await redirect_with_cookie({"query_string": b""}, request, send, secret, framed=self._rules.framed)

    def _while_let_in(self, send: Send, caller: Caller) -> Send:
        """`send` that ends a long answer, such as a stream of events, when the caller's key has been revoked."""
        key = caller.key
        if key is None:
            return send
        check = Throttle(STREAM_CHECK_SECONDS, is_due_at_first=False)

        async def send_while_valid(message: Message) -> None:
            if check.is_due() and not await to_thread.run_sync(self._keys.is_valid, key.id):
                raise ConnectionAbortedError(f"Key {key.id} has ended.")
            await send(message)

        return send_while_valid

    def _delay_guessing(self, request: Request) -> None:
        if wait := self._limits.wrong_keys.wait_seconds(self._peer(request)):
            raise _Refusal(429, "Too many wrong keys; wait a little.", wait)

    # How much

    def _check_rate(self, request: Request, caller: Caller) -> None:
        if caller.role is Role.OWNER:
            return
        if self._open[caller.key_id] >= self._limits.max_open:
            raise _Refusal(429, "Too many requests at a time; wait for one to end.", 1.0)
        if wait := self._limits.guest.take(caller.key_id) or self._limits.guests_in_all.take("all"):
            raise _Refusal(429, "Too many requests; wait a little.", wait)

    def _check_path(self, scope: Scope) -> None:
        if scope["path"].rstrip("/") in self._rules.closed_paths:
            raise _Refusal(404, "There is nothing here.")

    def _check_size(self, scope: Scope, request: Request, caller: Caller) -> int:
        """The most bytes that the body may have. Raises _Refusal if the request announces more."""
        rules = self._rules
        is_form = request.headers.get("content-type", "").startswith("multipart/")  # it goes to the disk, part by part
        is_upload = is_form and scope["path"] in rules.upload_paths
        guest_limit = rules.max_guest_upload_bytes if is_upload else rules.max_body_bytes
        limit = rules.max_upload_bytes if caller.role is Role.OWNER else guest_limit
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
        asks_password = self._password is not None and refusal.status == 401
        text = self._refused_page(refusal.status, refusal.sentence, asks_password) if wants_page else refusal.sentence
        body = text.encode()
        kind = b"text/html; charset=utf-8" if wants_page else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        if refusal.status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="Wan Studio"'))
        if refusal.retry_after:
            headers.append((b"retry-after", str(int(refusal.retry_after) + 1).encode()))
        answer = self._with_headers(send, None)
        await answer({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await answer({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})

    def _with_headers(self, send: Send, caller: Caller | None) -> Send:
        is_owner = caller is not None and caller.role is Role.OWNER
        return with_headers(send, security_headers(self._rules, for_gradio=is_owner), kept=is_owner)


def caller_of(scope: Scope) -> Caller:
    """Who sent the request of this scope. Raises KeyError where no guard stands before: then nobody is let in."""
    caller: Caller = scope[CALLER]
    return caller


def _too_large(limit: int) -> str:
    return f"That is more than {limit // 2**20} MB, the most at a time; send less."
