"""Seconds in words."""

from __future__ import annotations

import pytest

from wan_pipeline.wording import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (5.6, "6 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (64, "1 min"),
        (155, "2 min 30 s"),
        (1234, "20 min"),
        (3600, "1 h 0 min"),
        (7890, "2 h 11 min"),
    ],
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
