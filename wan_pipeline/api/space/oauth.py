"""The Space's owner logs in with their Hugging Face account, by the code flow of OpenID Connect.

/login/huggingface  to the Hub, which asks the person whether the Space may know who they are
/login/callback     back with a code, which the Hub exchanges for who they are; the owner gets a key as a cookie

Gradio has a login too, but it keeps who logged in for its own handlers, and needs two more packages.
"""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta
from hmac import compare_digest
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
from anyio import to_thread
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from wan_pipeline.access.http import key_cookie, request_of
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.roles import Role
from wan_pipeline.api.space.environment import OAuthApp, Space
from wan_pipeline.errors import StorageError, UserError

START, CALLBACK = "/login/huggingface", "/login/callback"
LOGIN_PATHS = frozenset({START, CALLBACK})
STATE_COOKIE = "wan_studio_login"
STATE_SECONDS = 600
OWNER_LASTS = timedelta(hours=12)
SCOPES = "openid profile"
TIMEOUT_SECONDS = 20.0
ADMIN = "admin"

logger = logging.getLogger(__name__)
Text = Annotated[str, Field(max_length=4096)]
Answer = TypeVar("Answer", bound=BaseModel)


class LoginError(UserError):
    """Why a login failed."""


class Endpoints(BaseModel):
    """The provider's addresses, as it describes itself."""

    authorization_endpoint: Text
    token_endpoint: Text
    userinfo_endpoint: Text


class Token(BaseModel):
    access_token: Text


class Organization(BaseModel):
    """One that the account is in. The Hub gives the role only if the person lets the Space know about it."""

    preferred_username: Text = ""
    role: Text | None = Field(default=None, alias="roleInOrg")
    missing: list[Text] | None = Field(default=None, alias="securityRestrictions")
    """What the person still has to do before the organization accepts them."""


class Account(BaseModel):
    """Who logged in."""

    preferred_username: Text
    orgs: list[Organization] | None = None


def may_own(account: Account, namespace: str) -> bool:
    """Whether the account is the namespace's user, or an administrator of its organization."""
    if _same(account.preferred_username, namespace):
        return True
    return any(
        _same(org.preferred_username, namespace) and org.role == ADMIN and not org.missing for org in account.orgs or ()
    )


def hub_login(space: Space, keys: Keys) -> Starlette:
    """The routes. They are for everybody; the Space must have an OAuth app."""
    if space.oauth is None:
        raise ValueError("The Space has no OAuth app.")
    login = HubLogin(space, space.oauth, keys)
    return Starlette(routes=[Route(START, login.start), Route(CALLBACK, login.finish)])


class HubLogin:
    """The two steps of the login."""

    def __init__(self, space: Space, app: OAuthApp, keys: Keys) -> None:
        self._space = space
        self._app = app
        self._keys = keys
        self._known_endpoints: Endpoints | None = None

    async def start(self, request: Request) -> Response:
        state = secrets.token_urlsafe(16)
        try:
            endpoints = await self._endpoints()
        except LoginError as error:
            return PlainTextResponse(str(error), 502)
        query = {
            "client_id": self._app.client_id,
            "redirect_uri": self._callback(request),
            "response_type": "code",
            "scope": SCOPES,
            "state": state,
        }
        answer = RedirectResponse(f"{endpoints.authorization_endpoint}?{urlencode(query)}", 303)
        answer.set_cookie(
            STATE_COOKIE, state, max_age=STATE_SECONDS, path="/login", secure=True, httponly=True, samesite="lax"
        )
        return answer

    async def finish(self, request: Request) -> Response:
        """Only for the browser that began: the state in the address is that in its cookie."""
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        begun = request.cookies.get(STATE_COOKIE, "")
        if not begun or not compare_digest(begun.encode(), state.encode()):
            return PlainTextResponse(f"This login was not started in this browser; open {START} again.", 400)
        if not code:
            return PlainTextResponse(f"The Hub did not log you in; open {START} to try again.", 403)
        try:
            account = await self._account(code, self._callback(request))
        except LoginError as error:
            return PlainTextResponse(str(error), 502)
        if not may_own(account, self._space.namespace):
            sentence = (
                f"You are {account.preferred_username[:80]}, and this Space belongs to {self._space.namespace}. "
                "Its owner is that user, or an administrator of that organization who lets the Space see it."
            )
            return PlainTextResponse(sentence, 403)
        return await self._welcome(request)

    async def _welcome(self, request: Request) -> Response:
        try:
            secret, key = await to_thread.run_sync(self._keys.create_for_server, Role.OWNER, "", OWNER_LASTS)
        except StorageError:
            return PlainTextResponse("Keys cannot be made just now; try again in a moment.", 503)
        logger.info("The owner logged in, with key %s.", key.id)
        answer = RedirectResponse("/", 303, headers={"cache-control": "no-store"})
        answer.delete_cookie(STATE_COOKIE, path="/login", secure=True, httponly=True, samesite="lax")
        lasts = int(OWNER_LASTS.total_seconds())
        cookie = key_cookie(request_of(request.scope), secret, framed=True, seconds=lasts)
        answer.raw_headers.append((b"set-cookie", cookie.encode()))
        return answer

    def _callback(self, request: Request) -> str:
        """The address that the Hub knows of the Space: its own name for it, also where the browser uses another."""
        host = self._space.hosts[0] if self._space.hosts else request.headers["host"]
        return f"https://{host}{CALLBACK}"

    # What the provider is asked

    async def _endpoints(self) -> Endpoints:
        """Asked for once. Raises LoginError, also for endpoints elsewhere than at the provider."""
        if self._known_endpoints is not None:
            return self._known_endpoints
        address = f"{self._app.provider.rstrip('/')}/.well-known/openid-configuration"
        endpoints = await self._ask(Endpoints, "GET", address)
        for _, url in endpoints:
            if urlsplit(url)[:2] != urlsplit(self._app.provider)[:2]:
                raise LoginError("The Hub's login answered with an address that is not its own; nobody is logged in.")
        self._known_endpoints = endpoints
        return endpoints

    async def _account(self, code: str, callback: str) -> Account:
        """Raises LoginError."""
        endpoints = await self._endpoints()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback}
        secret = (self._app.client_id, self._app.client_secret)
        token = await self._ask(Token, "POST", endpoints.token_endpoint, data=form, auth=secret)
        bearer = {"authorization": f"Bearer {token.access_token}"}
        return await self._ask(Account, "GET", endpoints.userinfo_endpoint, headers=bearer)

    async def _ask(self, kind: type[Answer], method: str, url: str, **request: Any) -> Answer:
        """Raises LoginError. What was sent and answered may be secret, so neither is in the message."""
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
                answer = await client.request(method, url, **request)
            answer.raise_for_status()
            return kind.model_validate_json(answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, ValidationError) as error:
            logger.warning("The Hub's login failed at %s: %s", urlsplit(url).path, type(error).__name__)
            raise LoginError(f"The Hub's login did not work; open {START} to try again.") from error


def _same(one: str, other: str) -> bool:
    """Names on the Hub are unique in whichever case they are written."""
    return bool(one) and one.casefold() == other.casefold()
