"""The answer to a request that the guard refuses: a page, JSON for the HTTP API, else one plain sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from wan_pipeline.access.callers import Request
from wan_pipeline.access.http import Answer, Headers

API = "/v1/"


class RefusedPage(Protocol):
    """Renders the page for a status and a sentence, and whether it asks for the password."""

    def __call__(self, status: int, sentence: str, asks_password: bool) -> str: ...


@dataclass(frozen=True)
class Refusal(Exception):
    """Why a request is not passed on."""

    status: int
    sentence: str
    retry_after: float = 0.0
    """Seconds until another try may do."""


def error_object(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error of the HTTP API, in OpenAI's shape. `param` names the setting that is wrong."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer_of(refusal: Refusal, request: Request, path: str, page: Callable[[int, str], str] | None = None) -> Answer:
    """`page` renders the sentence for a browser, where there is a page for it."""
    if path.startswith(API):
        kind, text = "application/json", json.dumps(error_object(refusal.status, refusal.sentence))
    elif page is not None and "text/html" in request.headers.get("accept", ""):
        kind, text = "text/html; charset=utf-8", page(refusal.status, refusal.sentence)
    else:
        kind, text = "text/plain; charset=utf-8", refusal.sentence
    body = text.encode()
    headers: Headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="Wan Studio"'))
    if refusal.retry_after:
        headers.append((b"retry-after", str(int(refusal.retry_after) + 1).encode()))
    return Answer(refusal.status, headers, body)
