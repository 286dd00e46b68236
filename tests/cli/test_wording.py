"""Numbers, amounts of data and lengths of time in words."""

from __future__ import annotations

import pytest

from wan_pipeline.wording import after_other_clips, data_size, duration, lower_first, plural, upper_first


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


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 kB"), (1280, "1 kB"), (58_726_000, "58.7 MB"), (434_371_000, "0.4 GB"), (29e9, "29.0 GB")],
)
def test_data_sizes_in_units_of_a_thousand(count: float, text: str) -> None:
    assert data_size(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 clips"), (1, "1 clip"), (12, "12 clips"), (1234, "1,234 clips")])
def test_counts_as_people_say_them(count: int, text: str) -> None:
    assert plural(count, "clip") == text


@pytest.mark.parametrize(("count", "text"), [(0, ""), (1, ", after 1 other clip"), (3, ", after 3 other clips")])
def test_who_is_ahead(count: int, text: str) -> None:
    assert after_other_clips(count) == text


def test_a_sentence_that_continues_another_or_stands_alone() -> None:
    assert (lower_first("It needs 8 GB."), lower_first("")) == ("it needs 8 GB.", "")
    assert (upper_first("it needs 8 GB."), upper_first("")) == ("It needs 8 GB.", "")
