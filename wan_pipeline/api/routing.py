"""Which part of the server answers: the owner's page, the guests' page, or what both may ask by HTTP.

The owner's page is an app of its own that no guest's request ever reaches. What a guest may reach is in GUEST_ROUTES,
each with the action that the table of roles has to allow; all else is not there for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.http import App, Receive, Scope, Send, request_of, send_answer
from wan_pipeline.access.refusals import Refusal, answer_of
from wan_pipeline.access.roles import ALLOWED, Action, Role


@dataclass(frozen=True)
class GuestRoute:
    """A route that guests may use, if the table allows them its action."""

    methods: frozenset[str]
    path: re.Pattern[str]
    action: Action


def route(methods: str, path: str, action: Action) -> GuestRoute:
    """`path` is a pattern in which {id} stands for one part of a path."""
    pattern = re.escape(path).replace(r"\{id\}", "[^/]+")
    return GuestRoute(frozenset(methods.split()), re.compile(pattern), action)


GUEST_ROUTES = (
    route("GET HEAD", "/", Action.OPEN),
    route("GET HEAD", "/guest/{id}", Action.OPEN),
    route("GET HEAD", "/v1/videos", Action.WATCH),
    route("GET HEAD", "/v1/videos/{id}", Action.WATCH),
    route("GET HEAD", "/v1/videos/{id}/content", Action.WATCH),
    route("POST", "/v1/videos", Action.GENERATE),
    route("POST", "/v1/videos/{id}/remix", Action.GENERATE),
    route("DELETE", "/v1/videos/{id}", Action.CANCEL),
    route("GET HEAD", "/v1/videos/{id}/preview", Action.FOLLOW),
    route("GET HEAD", "/v1/videos/{id}/comments", Action.WATCH),
    route("POST", "/v1/videos/{id}/comments", Action.COMMENT),
    route("GET HEAD", "/v1/review", Action.REVIEW),
    route("POST", "/v1/videos/{id}/verdict", Action.REVIEW),
    route("GET HEAD", "/v1/models", Action.CHOICES),
    route("POST", "/v1/forecast", Action.FORECAST),
    route("POST", "/mcp", Action.WATCH),
    route("GET HEAD", "/config", Action.CHOICES),
    route("GET HEAD", "/gradio_api/info", Action.CHOICES),
    route("POST", "/gradio_api/upload", Action.UPLOAD),
    route("POST", "/gradio_api/queue/join", Action.GENERATE),
    route("GET HEAD", "/gradio_api/queue/data", Action.FOLLOW),
)
"""Each route asks for its action again, by name, where it is handled.

Those of Gradio are not the owner's page's: for guests they lead to the named endpoints of `gradio_client` alone.
"""
SHARED = ("/v1/", "/mcp", "/guest/")
"""Beginnings of the paths that the owner and guests have in common."""


class Dispatcher:
    """An ASGI app behind the guard."""

    def __init__(self, owners_page: App, shared: App) -> None:
        self._owners_page = owners_page
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._owners_page(scope, receive, send)
            return
        role, path = caller_of(scope).role, scope["path"]
        if Action.OWN in ALLOWED[role]:
            app = self._shared if path.startswith(SHARED) else self._owners_page
            await app(scope, receive, send)
        elif (status := guest_status(role, scope.get("method", "WEBSOCKET"), path)) == 200:
            await self._shared(scope, receive, send)
        elif scope["type"] == "http":
            sentence = "There is nothing here." if status == 404 else "Your link does not allow that; ask the owner."
            await send_answer(answer_of(Refusal(status, sentence), request_of(scope), path), send)
        else:
            await send({"type": "websocket.close", "code": 1008})


def guest_status(role: Role, method: str, path: str) -> int:
    """200 if the table lets the role through, 403 if not, 404 if it is not a route for guests."""
    actions = [route.action for route in GUEST_ROUTES if method in route.methods and route.path.fullmatch(path)]
    if not actions:
        return 404
    return 200 if any(action in ALLOWED[role] for action in actions) else 403
