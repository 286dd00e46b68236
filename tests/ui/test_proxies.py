"""Proxies in the environment. The page starts and does without; downloads go through them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from tests.support.commands import PATIENCE, program
from tests.support.servers.hub import HubServer, hub_server
from tests.support.servers.socks import socks_proxy
from tests.support.soak import soaked
from tests.support.studios import wait_for
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.ui.proxies import bypass_proxies, without_unknown_proxies

NOBODY = "127.0.0.1:9"
REPO = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own environment: everything set in it is put back."""
    for name in (*NAMES, *map(str.upper, NAMES)):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def server(tmp_path: Path, tiny_demo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub whose name no computer knows: only a proxy leads there."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with hub_server() as server:
        server.publish(REPO, tiny_demo)
        yield server


def download(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return program("models", "download", REPO, f"--workspace={tmp_path}", f"--models-folder={tmp_path}")


@pytest.mark.parametrize(
    "proxies",
    [
        soaked(
            {"http_proxy": f"http://{NOBODY}", "https_proxy": f"http://{NOBODY}", "all_proxy": f"socks5://{NOBODY}"}
        ),
        soaked({"http_proxy": f"http://{NOBODY}", "https_proxy": f"http://{NOBODY}"}),
        soaked({"all_proxy": f"socks5://{NOBODY}"}),
        soaked({"ALL_PROXY": f"socks4://{NOBODY}", "NO_PROXY": "example.com"}),
    ],
    ids=["all", "http", "socks5", "unknown"],
)
def test_19_the_page_is_served_whatever_proxy_is_in_the_environment(tmp_path: Path, proxies: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--workspace", str(tmp_path / "workspace")]
    with (tmp_path / "log").open("wb") as log:
        app = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **proxies}, stdout=log, stderr=log)
    try:
        wait_for(lambda: app.poll() is not None or b"Running on" in (tmp_path / "log").read_bytes(), "the app starts")
        assert app.poll() is None, (tmp_path / "log").read_text()
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as page:
            assert b"Wan Studio" in page.read()
    finally:
        app.terminate()
        app.wait()


def test_19_downloads_use_an_http_proxy(tmp_path: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # it answers for every host
    done = download(tmp_path)
    assert (done.returncode, bool(server.requests)) == (0, True), done.stderr


def test_19_downloads_use_a_socks_proxy(tmp_path: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = server.server_address[:2]
    with socks_proxy((str(host), int(port))) as proxy:
        monkeypatch.setenv("all_proxy", proxy.url)
        done = download(tmp_path)
    assert (done.returncode, set(proxy.asked)) == (0, {"hub.invalid"}), done.stderr


def test_19_a_proxy_that_downloads_cannot_use_is_one_sentence(tmp_path: Path, server: HubServer, monkeypatch) -> None:
    monkeypatch.setenv("all_proxy", "socks4://me:secret@127.0.0.1:9")
    done = download(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be downloaded through the proxy in all_proxy" in done.stderr
    assert "secret" not in done.stderr


def test_19_loopback_joins_the_hosts_that_are_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com, localhost")
    bypass_proxies("192.168.1.5")
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.com,localhost,127.0.0.1,::1,192.168.1.5"
    bypass_proxies("0.0.0.0")  # noqa: S104
    assert os.environ["no_proxy"].endswith("::1,192.168.1.5")


def test_19_only_a_proxy_that_is_not_known_is_hidden_and_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", f"socks5://{NOBODY}")
    with without_unknown_proxies():
        assert "all_proxy" in os.environ
    name = "all_proxy"
    monkeypatch.setenv(name, f"gopher://{NOBODY}")
    with without_unknown_proxies():
        assert "all_proxy" not in os.environ
    assert os.environ[name] == f"gopher://{NOBODY}"
