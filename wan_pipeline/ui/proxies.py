"""Proxies of the environment: downloads use them, and the page, which is on this computer, must not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104
"""Hosts that mean all addresses of this computer."""


def bypass_proxies(host: str) -> None:
    """Name loopback and the page's own host in NO_PROXY, for this process and those that it starts."""
    named = ",".join(os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")).split(",")
    own = [] if host.strip("[]") in EVERYWHERE else [host.strip("[]")]
    hosts = dict.fromkeys(name.strip() for name in (*named, *LOOPBACK, *own) if name.strip())
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


@contextmanager
def without_unknown_proxies() -> Iterator[None]:
    """Hide proxies that Gradio's HTTP client does not know: it fails for them whatever address it is asked for."""
    hidden = {} if _are_known() else {name: value for name, value in os.environ.items() if name.lower() in PROXIES}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ |= hidden


def _are_known() -> bool:
    if not any(name.lower() in PROXIES for name in os.environ):
        return True
    import httpx  # here: the HTTP client of Gradio is slow to import

    try:
        httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL):  # no package for SOCKS, an unknown scheme, no address
        return False
    return True
