"""A Space: the server as the Hub's proxy would ask it, and a small provider of OpenID Connect in the Hub's place."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.api.conftest import OWNERS_PAGE, refused_page
from tests.support.processes.warm import Warm
from tests.support.servers.asgi import serving
from tests.support.studios import opened_warm
from wan_pipeline.access.guard import Guard
from wan_pipeline.access.visitors import Strangers
from wan_pipeline.api.app import shared_app
from wan_pipeline.api.routing import Dispatcher
from wan_pipeline.api.space.environment import Space, space_of
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates

HOST = "ana-studio.hf.space"
ENVIRONMENT = {"SPACE_ID": "ana/studio", "SPACE_AUTHOR_NAME": "ana", "SPACE_HOST": HOST}
CLIENT = {"OAUTH_CLIENT_ID": "client", "OAUTH_CLIENT_SECRET": "the app's secret"}


@dataclass(frozen=True)
class ServedSpace:
    address: str
    studio: Studio
    strangers: Strangers

    def visitor(self, peer: str = "203.0.113.7", **headers: str) -> httpx.Client:
        """A browser that comes through the Hub's proxy."""
        sent = {"host": HOST, "x-forwarded-for": peer, "x-forwarded-proto": "https", **headers}
        return httpx.Client(base_url=self.address, headers=sent, timeout=60, trust_env=False)


@contextmanager
def served_space(studio: Studio, space: Space) -> Iterator[ServedSpace]:
    strangers = space.strangers(studio.keys)
    dispatcher = Dispatcher(
        PlainTextResponse(OWNERS_PAGE), shared_app(studio, Templates(), login=strangers.login_start)
    )
    guard = Guard(dispatcher, studio.keys, space.rules(()), space.limits(), refused_page, None, strangers)
    with serving(guard) as address:
        yield ServedSpace(address, studio, strangers)


@pytest.fixture
def space_studio(settings: Settings, warm: Warm) -> Iterator[Studio]:
    with opened_warm(settings, warm) as studio:
        studio.start()
        yield studio


@pytest.fixture
def space(space_studio: Studio) -> Iterator[ServedSpace]:
    found = space_of(ENVIRONMENT)
    assert found is not None
    with served_space(space_studio, found) as served:
        yield served


def key_of(answer: httpx.Response) -> str:
    """The key in the cookie that an answer sets; the client keeps no Secure cookie of a plain connection."""
    return answer.headers["set-cookie"].partition("=")[2].partition(";")[0]


@dataclass
class Provider:
    """What the Hub does of OpenID Connect. Whoever comes to `authorize` is `account`."""

    account: dict[str, Any] = field(default_factory=dict)
    refuses: bool = False
    elsewhere: str = ""
    """Where its token endpoint is said to be, if not here."""
    codes: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)

    @property
    def app(self) -> Starlette:
        routes = [
            Route("/.well-known/openid-configuration", self.describe),
            Route("/oauth/authorize", self.authorize),
            Route("/oauth/token", self.token, methods=["POST"]),
            Route("/oauth/userinfo", self.userinfo),
        ]
        return Starlette(routes=routes)

    async def describe(self, request: Request) -> Response:
        here = f"http://{request.headers['host']}/oauth"
        return JSONResponse(
            {
                "issuer": here,
                "authorization_endpoint": f"{here}/authorize",
                "token_endpoint": self.elsewhere or f"{here}/token",
                "userinfo_endpoint": f"{here}/userinfo",
            }
        )

    async def authorize(self, request: Request) -> Response:
        query = request.query_params
        assert (query["client_id"], query["response_type"]) == ("client", "code")
        assert set(query["scope"].split()) == {"openid", "profile"}
        if self.refuses:
            return RedirectResponse(f"{query['redirect_uri']}?error=access_denied&state={query['state']}", 303)
        code = secrets.token_urlsafe(8)
        self.codes[code] = query["redirect_uri"]
        return RedirectResponse(f"{query['redirect_uri']}?code={code}&state={query['state']}", 303)

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        expected = base64.b64encode(b"client:the app's secret").decode()
        is_right = request.headers.get("authorization") == f"Basic {expected}"
        is_right = is_right and form["grant_type"] == "authorization_code"
        if not is_right or self.codes.pop(form["code"], None) != form["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = secrets.token_urlsafe(8)
        self.tokens.add(token)
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": 28_800})

    async def userinfo(self, request: Request) -> Response:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse({"sub": "1", "name": "Somebody", **self.account})
