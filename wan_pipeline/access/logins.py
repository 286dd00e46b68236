"""Logging in as the owner: by the password of this server, or on a Space by the account that it belongs to."""

from __future__ import annotations

from urllib.parse import parse_qsl

from anyio import to_thread

from wan_pipeline.access.callers import Request, is_same_origin
from wan_pipeline.access.http import BoundedBody, Receive, Rules, Scope, Send, peer_of, read_body, redirect_with_cookie
from wan_pipeline.access.limits import Limits
from wan_pipeline.access.password import Password
from wan_pipeline.access.refusals import Refusal
from wan_pipeline.access.visitors import Strangers

PATH = "/login"
MAX_BYTES = 4096


class Logins:
    """Paths that the guard answers itself, to every caller."""

    def __init__(self, rules: Rules, limits: Limits, password: Password | None, strangers: Strangers | None) -> None:
        self._rules = rules
        self._limits = limits
        self._password = password
        self._strangers = strangers

    async def answers(self, scope: Scope, request: Request, receive: Receive, send: Send) -> bool:
        """Whether the request was for a login, and has been answered. Raises Refusal for a caller who is not let in."""
        if self._password is not None and scope["path"] == PATH and request.method == "POST":
            await self._by_password(self._password, request, receive, send)
            return True
        if self._strangers is not None and scope["path"] in self._strangers.login_paths:
            await self._by_account(self._strangers, scope, request, receive, send)
            return True
        return False

    async def _by_password(self, password: Password, request: Request, receive: Receive, send: Send) -> None:
        """Check the password of a form and begin a session of the browser that sent it."""
        if not is_same_origin(request):
            raise Refusal(403, "Another web page sent this; only the studio's own page may.")
        if wait := self._limits.wrong_keys.wait_seconds(peer_of(request, self._rules)):
            raise Refusal(429, "Too many tries; wait a little.", wait)
        body = await read_body(receive, MAX_BYTES)
        typed = dict(parse_qsl(body.decode("utf-8", "replace"))).get("password", "")
        if not await to_thread.run_sync(password.matches, typed):
            raise Refusal(401, "That is not the password; try again.")
        await redirect_with_cookie({"query_string": b""}, request, send, password.new_session(), self._rules)

    async def _by_account(
        self, strangers: Strangers, scope: Scope, request: Request, receive: Receive, send: Send
    ) -> None:
        if wait := self._limits.strangers.take(peer_of(request, self._rules)):
            raise Refusal(429, "Too many tries; wait a little.", wait)
        if strangers.login is None or scope["type"] != "http":
            raise Refusal(404, "There is nothing here.")
        await strangers.login(scope, BoundedBody(receive, MAX_BYTES).receive, send)
