"""The owner's login, with a real provider of OpenID Connect, if a small one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.space.conftest import CLIENT, ENVIRONMENT, HOST, OWNERS_PAGE, Provider, ServedSpace, served_space
from tests.support.servers.asgi import serving
from wan_pipeline.access.http import COOKIE
from wan_pipeline.access.roles import Role
from wan_pipeline.api.space.environment import space_of
from wan_pipeline.studio import Studio


@dataclass(frozen=True)
class Login:
    space: ServedSpace
    provider: Provider

    def go(self, browser: httpx.Client) -> httpx.Response:
        """From the Space to the provider and back, as a browser follows."""
        start = browser.get("/login/huggingface")
        assert start.status_code == 303, start.text
        return self.come_back(browser, start, cookie(start, "wan_studio_login"))

    def come_back(self, browser: httpx.Client, start: httpx.Response, state: str) -> httpx.Response:
        back = httpx.get(start.headers["location"], trust_env=False).headers["location"]
        assert back.startswith(f"https://{HOST}/login/callback?"), "the address that the Hub knows"
        path = f"/login/callback?{urlsplit(back).query}"
        return browser.get(path, headers={"cookie": f"wan_studio_login={state}"})


def cookie(answer: httpx.Response, name: str) -> str:
    values = answer.headers.get_list("set-cookie")
    return next((value.split("=", 1)[1].split(";")[0] for value in values if value.startswith(f"{name}=")), "")


@pytest.fixture
def login(studio: Studio) -> Iterator[Login]:
    provider = Provider()
    with serving(provider.app) as hub:
        space = space_of({**ENVIRONMENT, **CLIENT, "OPENID_PROVIDER_URL": hub})
        assert space is not None
        with served_space(studio, space) as served:
            yield Login(served, provider)


ORG = {"sub": "2", "name": "Ana's studio", "preferred_username": "Ana"}


@pytest.mark.parametrize(
    "account",
    [
        {"preferred_username": "ana"},
        {"preferred_username": "Ana"},
        {"preferred_username": "bo", "orgs": [{**ORG, "preferred_username": "x"}, {**ORG, "roleInOrg": "admin"}]},
    ],
)
def test_the_namespaces_user_and_an_admin_of_the_organization_are_owners(login: Login, account: dict[str, Any]) -> None:
    login.provider.account = account
    with login.space.visitor() as browser:
        answer = login.go(browser)
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), answer.text
        secret = cookie(answer, COOKIE)
        page = browser.get("/", headers={"cookie": f"{COOKIE}={secret}"})
        assert page.text == OWNERS_PAGE
    flags = next(value for value in answer.headers.get_list("set-cookie") if value.startswith(COOKIE))
    assert {"HttpOnly", "SameSite=None", "Secure", "Partitioned", "Max-Age=43200"} <= set(flags.split("; "))
    key = login.space.studio.keys.find(secret)
    assert key is not None
    assert key.role is Role.OWNER
    assert key.expires_at is not None


@pytest.mark.parametrize(
    "account",
    [
        {"preferred_username": "bo"},
        {"preferred_username": "bo", "name": "ana", "sub": "ana", "profile": "https://huggingface.co/ana"},
        {"preferred_username": "ana2"},
        {"preferred_username": "bo", "orgs": [{**ORG, "roleInOrg": "write"}]},
        {"preferred_username": "bo", "orgs": [ORG]},
        {"preferred_username": "bo", "orgs": [{**ORG, "preferred_username": "other", "roleInOrg": "admin"}]},
        {"preferred_username": "bo", "orgs": [{**ORG, "roleInOrg": "admin", "securityRestrictions": ["mfa"]}]},
    ],
)
def test_nobody_else_is(login: Login, account: dict[str, Any]) -> None:
    login.provider.account = account
    with login.space.visitor() as browser:
        answer = login.go(browser)
    assert answer.status_code == 403
    assert "belongs to ana" in answer.text
    assert not cookie(answer, COOKIE)
    assert login.space.studio.keys.list() == []


def test_a_login_ends_in_the_browser_that_began_it(login: Login) -> None:
    """Else a page could log its own account in, in somebody's browser, or use a code that it caught."""
    login.provider.account = {"preferred_username": "ana"}
    with login.space.visitor() as browser:
        start = browser.get("/login/huggingface")
        for state in ("", "another", cookie(start, "wan_studio_login")[:-1]):
            answer = login.come_back(browser, start, state)
            assert (answer.status_code, cookie(answer, COOKIE)) == (400, ""), state
        assert browser.get("/login/callback?code=x&state=").status_code == 400


def test_a_code_is_good_once_and_a_made_up_one_never(login: Login) -> None:
    login.provider.account = {"preferred_username": "ana"}
    with login.space.visitor() as browser:
        start = browser.get("/login/huggingface")
        state = cookie(start, "wan_studio_login")
        path = f"/login/callback?code=made-up&state={state}"
        answer = browser.get(path, headers={"cookie": f"wan_studio_login={state}"})
    assert (answer.status_code, cookie(answer, COOKIE)) == (502, "")


def test_who_says_no_to_the_hub_is_told_so(login: Login) -> None:
    login.provider.refuses = True
    with login.space.visitor() as browser:
        assert login.go(browser).status_code == 403


def test_a_provider_that_points_elsewhere_is_not_followed(login: Login) -> None:
    login.provider.elsewhere = "https://evil.example/token"
    with login.space.visitor() as browser:
        answer = browser.get("/login/huggingface")
    assert answer.status_code == 502
    assert "not its own" in answer.text


@pytest.mark.soak
def test_the_login_is_asked_for_slowly_and_from_the_spaces_hosts_alone(login: Login) -> None:
    with login.space.visitor() as browser:
        assert browser.get("/login/huggingface", headers={"host": "evil.example"}).status_code == 403
        statuses = [browser.get("/login/callback").status_code for _ in range(60)]
    assert set(statuses) == {400, 429}


def test_the_visitors_page_leads_to_the_login(login: Login) -> None:
    with login.space.visitor() as browser:
        assert 'href="/login/huggingface"' in browser.get("/", headers={"accept": "text/html"}).text


def test_without_an_oauth_app_there_is_no_login(space: ServedSpace) -> None:
    with space.visitor() as browser:
        assert browser.get("/login/huggingface").status_code == 404
