"""The memory that large requests took is given back."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from tests.support.asynchronous import run_async
from wan_pipeline.access.memory import NOTABLE_BYTES, MemoryKeeper


class Refusal(Exception):
    """Holds the body that it is about."""


@pytest.fixture(autouse=True)
def idle() -> Iterator[None]:
    """Python's collector runs by itself only when much is allocated."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def refused_body(freed: asyncio.Event) -> None:
    error = Refusal()
    error.args = (error,)  # as a traceback does, which refers to the frame that holds the exception
    weakref.finalize(error, freed.set)


@pytest.mark.soak
@pytest.mark.parametrize("sizes", [[NOTABLE_BYTES], [NOTABLE_BYTES // 2] * 2], ids=["one large", "two that sum up"])
def test_what_a_large_request_left_is_freed(sizes: list[int]) -> None:
    async def receive() -> None:
        freed = asyncio.Event()
        refused_body(freed)
        keeper = MemoryKeeper(delay_seconds=0)
        for size in sizes:
            assert not freed.is_set()
            keeper.count(size)
        await asyncio.wait_for(freed.wait(), 30)

    run_async(receive())


def test_small_requests_collect_nothing() -> None:
    async def receive() -> bool:
        freed = asyncio.Event()
        refused_body(freed)
        keeper = MemoryKeeper(delay_seconds=0)
        for _ in range(100):
            keeper.count(100)
        for _ in range(5):
            await asyncio.sleep(0)  # timers that are due run
        return freed.is_set()

    assert not run_async(receive())
