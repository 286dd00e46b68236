"""Where the API waits for the database and the disk: threads beside the event loop, of which guests have a few."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from wan_pipeline.access.callers import Caller
from wan_pipeline.access.roles import Role

GUESTS_AT_A_TIME = 4
"""Requests of all guests that may use the database and the disk; others of theirs wait their turn."""
Result = TypeVar("Result")
Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs work in a thread."""


class Threads:
    """The threads of one server. The owner's requests never wait behind guests'."""

    def __init__(self) -> None:
        self._guests = CapacityLimiter(GUESTS_AT_A_TIME)

    def of(self, caller: Caller) -> Run:
        """`run` for this caller."""
        return partial(self.run, caller)

    async def run(self, caller: Caller, work: Callable[[], Result]) -> Result:
        limiter = None if caller.role is Role.OWNER else self._guests
        return await to_thread.run_sync(work, limiter=limiter)
