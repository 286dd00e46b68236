"""Who sends a request: the owner at this computer, a guest with a key, or an unknown caller, who is refused.

Pure functions of what a server knows of a request. The rules:

- A host name must be this computer's own, one given by `--host-name`, or one of a tunnel or a Space; all others are
  refused, which ends DNS rebinding.
- A key decides by itself, also on this computer: a request with a guest's key is that guest's.
- Without a key the owner is the person at this computer: loopback peer, loopback host, no forwarding header, and the
  page's own origin or none, as programs send. Tunnels end at a loopback peer, which is why the host counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from wan_pipeline.access.caps import Caps
from wan_pipeline.access.keys import Key
from wan_pipeline.access.roles import Role

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
GUEST_DOMAINS = ("gradio.live", "hf.space")
"""Of share links and of Hugging Face Spaces: requests to these are guests', with or without `--share`."""
FORWARDING_HEADERS = ("forwarded", "via", "x-real-ip")
"""And all that begin with `x-forwarded-`: the request passed through another program."""
UNCHANGING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Caller:
    """Who was let in."""

    role: Role
    key: Key | None = None
    """None for the owner at this computer."""
    is_local: bool = False
    """Whether they sit at this computer, and may be shown its folders."""
    caps: Caps | None = None
    """What they may ask for at most, where it is not what every guest may."""

    @property
    def key_id(self) -> str:
        """Empty for the owner at this computer."""
        return self.key.id if self.key else ""


OWNER_HERE = Caller(Role.OWNER, is_local=True)
"""The user of the command line, of Python, or of this computer's browser."""


class HostKind(Enum):
    LOOPBACK = "loopback"
    NAMED = "named"
    """Given by `--host-name`."""
    GUEST = "guest"
    """A tunnel's or a Space's."""
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Request:
    """What a server knows of a request before its body is read. Header names are lower case."""

    peer: str
    """Address of the other end of the connection."""
    method: str
    scheme: str
    headers: Mapping[str, str]

    @property
    def host(self) -> str:
        return self.headers.get("host", "")

    @property
    def is_forwarded(self) -> bool:
        return any(name in FORWARDING_HEADERS or name.startswith("x-forwarded-") for name in self.headers)

    @property
    def changes_something(self) -> bool:
        """Whether its origin has to be checked. A WebSocket counts: browsers let any page open one."""
        return self.method not in UNCHANGING or self.scheme in ("ws", "wss")


def host_name(host: str) -> str:
    """The name in a Host header, without the port, lower case; empty for an invalid name."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def host_kind(host: str, named: frozenset[str]) -> HostKind:
    name = host_name(host)
    if name in LOOPBACK_NAMES:
        return HostKind.LOOPBACK
    if any(name == domain or name.endswith(f".{domain}") for domain in GUEST_DOMAINS):
        return HostKind.GUEST
    return HostKind.NAMED if name in named else HostKind.FOREIGN


def is_same_origin(request: Request) -> bool:
    """Whether the page that sent it is one of this host, or no page sent it. `Origin: null` is no page of ours.

    The scheme is not compared: a tunnel or a proxy takes the TLS off.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(netloc) and netloc.lower() == request.host.lower()


def is_at_this_computer(request: Request, named: frozenset[str]) -> bool:
    """Whether a request comes from this computer, to it by its own name, and through nothing in between.

    If it also is of the same origin (`is_same_origin`), this computer's own person or programs sent it; else another
    site's page led the browser here.
    """
    is_loopback = _is_loopback(request.peer) and host_kind(request.host, named) is HostKind.LOOPBACK
    return is_loopback and not request.is_forwarded


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def client_address(request: Request) -> str:
    """Who sent a request through a proxy: the last public address of those that it went through.

    What comes before it was written by the sender, who may have made it up.
    """
    passed = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",")]
    return next((address for address in reversed(passed) if _is_public(address)), request.peer)


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
