"""Rates are exact, however a person writes them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from wan_pipeline.clips.export.rates import frame_of, parse_rate, timecode
from wan_pipeline.errors import RequestError


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("24", Fraction(24)),
        ("25.0", Fraction(25)),
        ("24000/1001", Fraction(24000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("47.952", Fraction(48000, 1001)),
        ("12.5", Fraction(25, 2)),
    ],
)
def test_rates(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "-24", "24/0", "fast", "1e9", "nan", "inf", "241", "1/3", "24000/1001/2"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(RequestError, match="is no frame rate"):
        parse_rate(text)


def test_timecode_counts_frames_by_the_nominal_rate() -> None:
    ntsc = Fraction(24000, 1001)
    assert timecode(frame_of(1, ntsc), ntsc) == "01:00:00:00"
    assert timecode(frame_of(1, ntsc) - 8, ntsc) == "00:59:59:16"
    assert timecode(frame_of(1, Fraction(25)) + 25 * 61 + 3, Fraction(25)) == "01:01:01:03"
