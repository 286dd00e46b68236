"""An ASGI middleware that stands before every route: hosts, origins, keys, rates, sizes, and the headers of answers.

It decides who asks and puts that `Caller` into the request's scope; what they may do is decided where it is done, by
the table in `roles`. It knows ASGI and nothing of Gradio.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from anyio import CapacityLimiter, to_thread

from wan_pipeline.access.callers import (
    OWNER_HERE,
    Caller,
    HostKind,
    Request,
    host_kind,
    host_name,
    is_at_this_computer,
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
    peer_of,
    redirect_with_cookie,
    request_of,
    secrets_in,
    security_headers,
    send_answer,
    with_cookie,
    with_headers,
)
from wan_pipeline.access.keys import Key, Keys
from wan_pipeline.access.limits import Limits, take_both
from wan_pipeline.access.logins import Logins
from wan_pipeline.access.memory import MemoryKeeper
from wan_pipeline.access.password import Password
from wan_pipeline.access.refusals import Refusal, RefusedPage, answer_of
from wan_pipeline.access.roles import Role
from wan_pipeline.access.visitors import VISIT, Strangers
from wan_pipeline.errors import StorageError
from wan_pipeline.progress import Throttle

CALLER = "wan_studio.caller"
"""Where a scope holds its Caller."""
STREAM_CHECK_SECONDS = 2.0
LOOKUPS_AT_A_TIME = 4
"""Keys of those who are elsewhere; what the owner at this computer asks for does not wait for them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Entry:
    """Who was let in, and what becomes of their key."""

    caller: Caller
    secret_in_address: str = ""
    """The key that came in the address, to be removed from it."""
    new_secret: str = ""
    """The secret of the key that a visitor was just given."""


class Guard:
    """Wraps an ASGI app. `refused_page` renders the page that says why a caller is not let in."""

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
        self._logins = Logins(rules, limits, password, strangers)
        self._lookups = CapacityLimiter(LOOKUPS_AT_A_TIME)
        self._open: Counter[str] = Counter()
        """Requests under way, by the id of their key."""
        self._memory = MemoryKeeper()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = request_of(scope)
        try:
            self._check_host(request)
            if await self._logins.answers(scope, request, receive, self._with_headers(send, None)):
                return
            entry = await self._let_in(scope, request)
            caller = entry.caller
            self._check_rate(request, caller)
            limit = self._check_size(scope, request, caller)
        except Refusal as refusal:
            await self._refuse(scope, request, receive, send, refusal)
            return
        if entry.secret_in_address:
            await redirect_with_cookie(scope, request, send, entry.secret_in_address, self._rules)
            return
        if entry.new_secret:
            lasts = int(VISIT.total_seconds())
            send = with_cookie(send, key_cookie(request, entry.new_secret, framed=self._rules.framed, seconds=lasts))
        scope[CALLER] = caller
        body = BoundedBody(receive, limit)
        answer = self._with_headers(send, caller)
        answer = body.refusing(answer, answer_of(_too_large(limit), request, scope["path"]))
        self._open[caller.key_id] += 1
        try:
            await self._app(scope, body.receive, self._while_let_in(answer, caller))
        finally:
            self._open[caller.key_id] -= 1
            self._open += Counter()  # forgets those that are at 0
            self._memory.count(body.received)

    # Who asks

    def _check_host(self, request: Request) -> None:
        if host_kind(request.host, self._rules.host_names) is HostKind.FOREIGN:
            name = host_name(request.host)[:80] or "without a name"
            raise Refusal(403, f"This studio does not answer to the host {name}; its owner can add --host-name.")

    async def _let_in(self, scope: Scope, request: Request) -> _Entry:
        """Raises Refusal for a caller who is not let in. Keys are looked up in a thread: the database may be busy."""
        if self._strangers is None and not any(secrets_in(scope, request)):
            return self._identify(scope, request)
        limiter = None if is_at_this_computer(request, self._rules.host_names) else self._lookups
        return await to_thread.run_sync(self._identify, scope, request, limiter=limiter)

    def _identify(self, scope: Scope, request: Request) -> _Entry:
        is_same, is_local = is_same_origin(request), is_at_this_computer(request, self._rules.host_names)
        if request.changes_something and not is_same:
            raise Refusal(403, "Another web page sent this; only the studio's own page may.")
        has_owner = not self._rules.behind_proxy or scope["path"] in self._rules.own_paths
        is_here = has_owner and is_local and is_same
        found = list(secrets_in(scope, request))
        for secret, is_in_address in found:
            if is_in_address and not is_same and (is_local or self._has_owners_cookie(found)):
                continue  # another site's link would make the owner a guest, in its author's sight
            if self._password is not None and self._password.has_session(secret):
                return _Entry(Caller(Role.OWNER, is_local=is_here))
            key = self._find(secret)
            if key is not None:
                caller = Caller(key.role, key, is_local=is_here and key.role is Role.OWNER, caps=self._caps(key))
                return _Entry(caller, secret_in_address=secret if is_in_address else "")
            if not is_here:  # an owner's browser may still hold the cookie of a key that was revoked
                self._delay_guessing(request)
        if is_here:
            return _Entry(OWNER_HERE)
        if self._strangers is not None and scope["path"] == "/" and request.method == "GET":
            return self._admit(self._strangers, request)
        raise Refusal(401, "This studio is private. Open it by an invitation: a link that ends in a key.")

    def _admit(self, strangers: Strangers, request: Request) -> _Entry:
        """Give a visitor a key. Raises Refusal."""
        if wait := strangers.visitors.wait_seconds(peer_of(request, self._rules)):
            raise Refusal(429, "Many people have just come here; wait a little, then open the page again.", wait)
        try:
            secret, key = strangers.visitors.admit()
        except StorageError as error:
            raise self._unavailable(error) from error
        return _Entry(Caller(key.role, key, caps=self._caps(key)), new_secret=secret)

    def _has_owners_cookie(self, found: Sequence[tuple[str, bool]]) -> bool:
        for secret, is_in_address in found:
            if is_in_address:
                continue
            if self._password is not None and self._password.has_session(secret):
                return True
            key = self._find(secret)
            return key is not None and key.role is Role.OWNER
        return False

    def _caps(self, key: Key) -> Caps | None:
        return self._strangers.visitors.caps if self._strangers is not None and key.is_visitor else None

    def _find(self, secret: str) -> Key | None:
        try:
            key = self._keys.find(secret)
            if key is not None:
                self._keys.record_use(key)
        except StorageError as error:
            raise self._unavailable(error) from error
        return key

    @staticmethod
    def _unavailable(error: StorageError) -> Refusal:
        logger.warning("A key could not be checked: %s", error)
        return Refusal(503, "Keys cannot be checked just now; try again in a moment.", 2.0)

    def _while_let_in(self, send: Send, caller: Caller) -> Send:
        """`send` that ends a long answer, such as a stream of events, when the caller's key has been revoked."""
        key = caller.key
        if key is None:
            return send
        check = Throttle(STREAM_CHECK_SECONDS, is_due_at_first=False)

        async def send_while_valid(message: Message) -> None:
            if check.is_due() and not await to_thread.run_sync(self._is_valid, key.id, limiter=self._lookups):
                raise ConnectionAbortedError(f"Key {key.id} has ended.")
            await send(message)

        return send_while_valid

    def _is_valid(self, key_id: str) -> bool:
        try:
            return self._keys.is_valid(key_id)
        except StorageError as error:  # no reason to break off a download; the next look decides
            logger.warning("A key could not be checked: %s", error)
            return True

    def _delay_guessing(self, request: Request) -> None:
        if wait := self._limits.wrong_keys.wait_seconds(peer_of(request, self._rules)):
            raise Refusal(429, "Too many wrong keys; wait a little.", wait)

    # How much

    def _check_rate(self, request: Request, caller: Caller) -> None:
        if caller.role is Role.OWNER:
            return
        if self._open[caller.key_id] >= self._limits.max_open:
            raise Refusal(429, "Too many requests at a time; wait for one to end.", 1.0)
        if wait := take_both(self._limits.guest, caller.key_id, self._limits.guests_in_all):
            raise Refusal(429, "Too many requests; wait a little.", wait)

    def _check_size(self, scope: Scope, request: Request, caller: Caller) -> int:
        """The most bytes that the body may have. Raises Refusal if the request announces more."""
        rules = self._rules
        is_form = request.headers.get("content-type", "").startswith("multipart/")  # it goes to the disk, part by part
        is_upload = is_form and scope["path"] in rules.upload_paths
        if caller.role is Role.OWNER:
            limit = rules.max_file_bytes if is_upload else rules.max_upload_bytes
        else:
            limit = rules.max_guest_upload_bytes if is_upload else rules.max_body_bytes
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > limit:
            raise _too_large(limit)
        return limit

    # Answers

    async def _refuse(self, scope: Scope, request: Request, receive: Receive, send: Send, refusal: Refusal) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence[:100]})
            return
        asks_password = self._password is not None and refusal.status == 401
        page = partial(self._refused_page, asks_password=asks_password)
        answer = answer_of(refusal, request, scope["path"], page)
        await send_answer(answer, self._with_headers(send, None), is_head=request.method == "HEAD")

    def _with_headers(self, send: Send, caller: Caller | None) -> Send:
        is_owner = caller is not None and caller.role is Role.OWNER
        return with_headers(send, security_headers(self._rules, for_gradio=is_owner), kept=is_owner)


def caller_of(scope: Scope) -> Caller:
    """Who sent the request of this scope. Raises KeyError if no guard came first: then nobody is let in."""
    caller: Caller = scope[CALLER]
    return caller


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"That is more than {limit // 2**20} MB, the most at a time; send less.")
