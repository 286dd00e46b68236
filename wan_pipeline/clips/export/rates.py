"""Frame rates as exact fractions, and timecode."""

from __future__ import annotations

import re
from fractions import Fraction

from wan_pipeline.errors import RequestError

NTSC = (24, 30, 48, 60, 120)
"""Rates that video also has slowed by 1000/1001, and that people then write with decimals, such as 23.976."""
MIN_RATE, MAX_RATE = Fraction(1), Fraction(240)


def parse_rate(text: str) -> Fraction:
    """Frames a second, from "24", "24000/1001", "23.976" or "29.97". Raises RequestError.

    A decimal that is within 0.005 of an NTSC rate is that rate exactly.
    """
    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not MIN_RATE <= rate <= MAX_RATE or rate.denominator > 100_000:
        raise RequestError(
            "fps", f"'{text[:40]}' is no frame rate; write {MIN_RATE} to {MAX_RATE}, such as 24, 25 or 24000/1001."
        )
    return _exact(rate) if "." in text else rate


def _exact(rate: Fraction) -> Fraction:
    for whole in NTSC:
        ntsc = Fraction(whole * 1000, 1001)
        if abs(rate - ntsc) <= Fraction(5, 1000):
            return ntsc
    return rate


def nominal(rate: Fraction) -> int:
    """The frames that timecode counts in a second: 24 at 24000/1001."""
    return max(1, round(rate))


def timecode(frame: int, rate: Fraction) -> str:
    """Non-drop timecode of a frame, such as 01:00:00:00 for frame 86,400 at 24."""
    seconds, frames = divmod(frame, nominal(rate))
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"


def exr_has_timecode(rate: Fraction) -> bool:
    """OpenEXR's timecode, which is SMPTE 12M's, counts no more frames a second."""
    return nominal(rate) <= 30


def frame_of(hours: int, rate: Fraction) -> int:
    """The frame at which timecode shows this many hours."""
    return hours * 3600 * nominal(rate)


def frame_at(text: str, rate: Fraction) -> int:
    """The frame at which non-drop timecode shows this, such as 10:00:00:00. Raises RequestError."""
    found = re.fullmatch(r"(\d{1,2}):([0-5]?\d):([0-5]?\d):(\d{1,3})", text.strip())
    if found is None or int(found[1]) > 23 or int(found[4]) >= nominal(rate):
        raise RequestError(
            "timecode",
            f"'{text[:40]}' is no timecode at {rate} frames a second; write hours, minutes, seconds and frames, "
            "such as 01:00:00:00.",
        )
    hours, minutes, seconds, frames = map(int, found.groups())
    return (hours * 3600 + minutes * 60 + seconds) * nominal(rate) + frames
