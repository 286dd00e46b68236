"""Strangers on a Space: each who opens the page gets a key of their own, and the Space's owner may log in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any

from wan_pipeline.access.caps import Caps
from wan_pipeline.access.http import App
from wan_pipeline.access.keys import Key, Keys
from wan_pipeline.access.limits import Rate, take_both
from wan_pipeline.errors import UserError

VISIT = timedelta(days=1)
"""How long a visitor's key is valid, and their clips are kept."""
CAPS = Caps(max_pixels=832 * 480, max_seconds=5.5, max_waiting=2, minutes_a_day=20.0, max_queue=20)
"""The caps of each visitor. A new key is only a new tab away, so the queue has a limit for all of them."""
CAPS_NAMES = {
    "pixels": "max_pixels",
    "seconds": "max_seconds",
    "steps": "max_steps",
    "waiting": "max_waiting",
    "minutes": "minutes_a_day",
    "queue": "max_queue",
}
"""Words of the setting that changes them, and what each sets."""


@dataclass
class Visitors:
    """Gives keys to those who come without one."""

    keys: Keys
    caps: Caps = CAPS
    by_peer: Rate = field(default_factory=lambda: Rate(per_second=1 / 60, burst=20))
    in_all: Rate = field(default_factory=lambda: Rate(per_second=1.0, burst=120))

    def wait_seconds(self, peer: str) -> float:
        """0 if this peer may have a key now, else how long it is to wait."""
        return take_both(self.by_peer, _network_of(peer), self.in_all)

    def admit(self) -> tuple[str, Key]:
        """A new key and its secret. Raises StorageError."""
        return self.keys.create_for_visitor(VISIT)


@dataclass(frozen=True)
class Strangers:
    """What a Space has for those without a key."""

    visitors: Visitors
    login: App | None = None
    """Lets the owner in by their account."""
    login_paths: frozenset[str] = frozenset()
    """Paths of `login`, open to every caller."""
    login_start: str = ""
    """The one that it begins with; empty without a `login`."""


def parse_caps(text: str, name: str) -> Caps:
    """CAPS, changed by "pixels=399360,seconds=4,minutes=10". `name` is the setting's, for its UserError."""
    changed: dict[str, Any] = dict(_parsed(text.split(","), name))
    return replace(CAPS, **changed)


def _parsed(parts: Iterable[str], name: str) -> Iterable[tuple[str, float]]:
    kinds = {item.name: item.type for item in fields(Caps)}
    for part in parts:
        word, _, value = (piece.strip() for piece in part.partition("="))
        cap = CAPS_NAMES.get(word)
        if cap is None or not value.isascii() or not value.isdecimal() or not 0 < int(value[:9]) < 10**8:
            raise UserError(
                f"{name} has '{part[:40]}', which is no limit; write one such as seconds=4 "
                f"({', '.join(CAPS_NAMES)}), with commas between them."
            )
        yield cap, float(value) if kinds[cap] == "float" else int(value)


def _network_of(address: str) -> str:
    """The address, or of one of IPv6 the /64 that a household has for itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
