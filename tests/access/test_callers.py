"""Who is the owner, who a guest, who nobody: told from what a server knows of a request."""

from __future__ import annotations

import pytest

from wan_pipeline.access.callers import HostKind, Request, host_kind, host_name, is_at_this_computer, is_same_origin

NOBODY_NAMED: frozenset[str] = frozenset()


def request(peer: str = "127.0.0.1", method: str = "GET", scheme: str = "http", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(peer, method, scheme, {"host": "127.0.0.1:7860", **named})


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST.:7860", "localhost"),
        ("[::1]:7860", "::1"),
        ("127.0.0.1:7860", "127.0.0.1"),
        ("studio.lan", "studio.lan"),
        ("", ""),
        ("[", ""),
        ("evil.example@localhost", "localhost"),  # no browser sends one; the origin check has the last word
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("localhost:7860", HostKind.LOOPBACK),
        ("127.0.0.1", HostKind.LOOPBACK),
        ("[::1]:80", HostKind.LOOPBACK),
        ("abc123.gradio.live", HostKind.GUEST),
        ("gradio.live", HostKind.GUEST),
        ("user-space.hf.space", HostKind.GUEST),
        ("notgradio.live", HostKind.FOREIGN),
        ("localhost.evil.example", HostKind.FOREIGN),
        ("127.0.0.1.evil.example", HostKind.FOREIGN),
        ("studio.lan:7860", HostKind.NAMED),
        ("192.168.1.5:7860", HostKind.FOREIGN),
        ("0.0.0.0:7860", HostKind.FOREIGN),
        ("", HostKind.FOREIGN),
    ],
)
def test_hosts_are_told_apart(host: str, kind: HostKind) -> None:
    assert host_kind(host, frozenset({"studio.lan"})) is kind


def is_the_owners(asked: Request, named: frozenset[str]) -> bool:
    return is_at_this_computer(asked, named) and is_same_origin(asked)


def test_the_browser_and_programs_of_this_computer_are_the_owners() -> None:
    assert is_the_owners(request(), NOBODY_NAMED)
    assert is_the_owners(request(peer="::1", host="[::1]:7860"), NOBODY_NAMED)
    assert is_the_owners(request(method="POST", origin="http://127.0.0.1:7860"), NOBODY_NAMED)


@pytest.mark.parametrize(
    "other",
    [
        request(peer="192.168.1.9"),
        request(peer=""),
        request(host="abc.gradio.live"),
        request(host="studio.lan"),
        request(x_forwarded_for="127.0.0.1"),
        request(x_forwarded_host="127.0.0.1"),
        request(x_forwarded_anything=""),
        request(forwarded="for=127.0.0.1"),
        request(via="1.1 proxy"),
        request(x_real_ip="127.0.0.1"),
        request(origin="https://evil.example"),
        request(origin="http://127.0.0.1:9999"),
        request(origin="http://localhost:7860"),
        request(origin="null"),
        request(sec_fetch_site="cross-site"),
        request(sec_fetch_site="same-site"),
    ],
    ids=lambda other: repr({**other.headers, "peer": other.peer}),
)
def test_whoever_comes_from_elsewhere_is_not(other: Request) -> None:
    assert not is_the_owners(other, frozenset({"studio.lan"}))


def test_a_page_of_the_same_host_is_the_same_origin_through_a_tunnel_too() -> None:
    tunnel = {"host": "abc.gradio.live", "origin": "https://abc.gradio.live"}
    assert is_same_origin(request(**tunnel))
    assert not is_same_origin(request(**tunnel | {"origin": "https://other.gradio.live"}))


def test_websockets_and_posts_change_something() -> None:
    assert request(method="POST").changes_something
    assert request(method="DELETE").changes_something
    assert request(scheme="ws").changes_something
    assert not request(method="HEAD").changes_something
