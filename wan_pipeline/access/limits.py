"""How often: rates by key and in all, and a delay for wrong keys.

All of it is in memory, for one server process, and its size is bounded.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

ALL = "all"
MAX_BUCKETS = 4096
"""Callers remembered at a time; the one that was away the longest is forgotten first."""


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


@dataclass
class Rate:
    """A token bucket a caller: `burst` at once, refilled with `per_second`."""

    per_second: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def take(self, caller: str) -> float:
        """0 if the caller may go on, else the seconds until they may. A refusal costs nothing."""
        with self._lock:
            bucket = self._filled(caller)
            if bucket.tokens < 1:
                return (1 - bucket.tokens) / self.per_second
            bucket.tokens -= 1
            return 0.0

    def wait_seconds(self, caller: str) -> float:
        """What `take` would answer now."""
        with self._lock:
            return max(1 - self._filled(caller).tokens, 0.0) / self.per_second

    def _filled(self, caller: str) -> _Bucket:
        now = self.clock()
        bucket = self._buckets.pop(caller, None) or _Bucket(self.burst, now)
        self._buckets[caller] = bucket
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.filled_at) * self.per_second)
        bucket.filled_at = now
        return bucket


def take_both(own: Rate, caller: str, in_all: Rate) -> float:
    """As `Rate.take`, of the caller's own rate and of that of all. A refusal by one costs nothing of the other."""
    return own.wait_seconds(caller) or in_all.take(ALL) or own.take(caller)


@dataclass
class WrongKeys:
    """Makes guessing slow: a few tries at once, then one every few seconds, by peer address and in all.

    Through a tunnel all visitors come from one address, so a right key is let in however many wrong ones came before.
    """

    by_peer: Rate = field(default_factory=lambda: Rate(per_second=0.2, burst=8))
    in_all: Rate = field(default_factory=lambda: Rate(per_second=2.0, burst=40))

    def wait_seconds(self, peer: str) -> float:
        """After a wrong key: 0 if it may simply be refused, else how long this peer is to wait."""
        return take_both(self.by_peer, peer, self.in_all)


@dataclass
class Limits:
    """The rates of one server. The owner has none."""

    guest: Rate = field(default_factory=lambda: Rate(per_second=8, burst=80))
    guests_in_all: Rate = field(default_factory=lambda: Rate(per_second=24, burst=240))
    strangers: Rate = field(default_factory=lambda: Rate(per_second=4, burst=40))
    wrong_keys: WrongKeys = field(default_factory=WrongKeys)
    max_open: int = 24
    """Requests of one key that are under way at a time: uploads, downloads and streams last."""
