"""What other programs take of the cores, apart from the app and its worker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from wan_pipeline.jobs.estimates.cpu_load import CpuLoad, Sample, take_sample


def load(*samples: Sample) -> CpuLoad:
    told: Iterator[Sample] = iter(samples)
    return CpuLoad(lambda pid: next(told), cores=2)


def test_12_the_first_look_knows_nothing() -> None:
    assert not load((0.0, 100.0, 10.0)).is_busy()


@pytest.mark.parametrize(("total", "own", "busy"), [(20.0, 19.0, False), (20.0, 4.0, True), (5.0, 0.0, False)])
def test_12_the_apps_own_work_does_not_make_the_machine_busy(total: float, own: float, busy: bool) -> None:
    """Over 10 seconds of two cores."""
    watched = load((0.0, 0.0, 0.0), (10.0, total, own))
    watched.is_busy()
    assert watched.is_busy() == busy


def test_12_a_second_look_at_once_tells_the_same_and_a_worker_that_ended_makes_nothing_busy() -> None:
    watched = load((0.0, 0.0, 50.0), (10.0, 20.0, 50.0), (10.1, 20.0, 0.0), (20.0, 20.0, 0.0))
    watched.is_busy()
    assert [watched.is_busy() for _ in range(3)] == [True, True, False]


def test_12_the_counters_of_this_machine_can_be_read_also_for_a_process_that_is_gone() -> None:
    seconds, total, own = take_sample(2**31 - 2)
    assert seconds > 0 and total > 0 and own == pytest.approx(sum(os.times()[:2]), abs=1.0)
