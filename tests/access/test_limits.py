"""Rates and wrong keys, by a clock of the test's own."""

from __future__ import annotations

from wan_pipeline.access.limits import MAX_BUCKETS, Rate, WrongKeys


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_goes_through_and_then_the_rate_holds() -> None:
    clock = Clock()
    rate = Rate(per_second=2.0, burst=3, clock=clock)
    assert [rate.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rate.take("b") == 0.0, "each caller has a bucket"
    clock.now += 0.5
    assert rate.take("a") == 0.0
    clock.now += 3600
    assert [rate.take("a") for _ in range(4)][-1] == 0.5, "no more than a burst is saved up"


def test_memory_does_not_grow_with_callers() -> None:
    rate = Rate(per_second=1.0, burst=1)
    for number in range(2 * MAX_BUCKETS):
        rate.take(str(number))
    assert len(rate._buckets) == MAX_BUCKETS


def test_wrong_keys_cost_time_by_peer_and_in_all() -> None:
    clock = Clock()
    wrong = WrongKeys(Rate(0.2, 2, clock), Rate(2.0, 5, clock))
    assert [wrong.wait_seconds("a") for _ in range(3)] == [0.0, 0.0, 5.0]
    assert [wrong.wait_seconds(peer) for peer in "bcd"] == [0.0] * 3, "what was refused cost the others nothing"
    assert wrong.wait_seconds("e") > 0, "many peers together are slowed too"
