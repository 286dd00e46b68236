"""How often progress is told."""

from __future__ import annotations

from wan_pipeline.progress import Throttle


def test_a_throttle_lets_one_pass() -> None:
    throttle = Throttle(1000.0)
    assert throttle.is_due() and not throttle.is_due()
    assert not Throttle(1000.0, is_due_at_first=False).is_due()
    throttle = Throttle(0.0)
    assert throttle.is_due() and throttle.is_due()
