"""A sound file, and how it lies under pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import RequestError

MAX_GAIN_DB = 60.0
MAX_SECONDS = 24 * 3600.0
MAX_FADE_SECONDS = 600.0


@dataclass(frozen=True)
class Track:
    """One file of a mix. Times are in seconds."""

    file: Path
    at_seconds: float = 0.0
    """When it begins; if that is negative, so much of it is left out."""
    first_second: float = 0.0
    """In point: what of the file lies before it is left out too."""
    seconds: float | None = None
    """How long it is heard; None for the whole file."""
    gain_db: float = 0.0
    fade_in: float = 0.0
    fade_out: float = 0.0
    """Before its own end, or that of the mix if that comes first."""
    sound_seconds: float | None = None
    """Length of the file's sound, where it is known already; None to decode it where it is needed."""
    ducks_others: bool = False
    """The tracks that do not duck others are lowered while this one is heard: a voice over music."""

    def __post_init__(self) -> None:
        """Raises RequestError."""
        if not abs(self.gain_db) <= MAX_GAIN_DB:
            raise RequestError("gain", f"A gain of {self.gain_db:g} dB is not possible; choose -60 to 60.")
        if not abs(self.at_seconds) <= MAX_SECONDS:
            raise RequestError("at", f"{self.at_seconds:g} s is no place in a clip; choose seconds from its beginning.")
        if not 0 <= self.first_second <= MAX_SECONDS:
            raise RequestError("in", f"{self.first_second:g} s is no place in a sound; choose seconds from its start.")
        if self.seconds is not None and not 0 < self.seconds <= MAX_SECONDS:
            raise RequestError("seconds", f"{self.seconds:g} s is no length of a sound; choose more than 0.")
        for name, value in (("fade-in", self.fade_in), ("fade-out", self.fade_out)):
            if not 0 <= value <= MAX_FADE_SECONDS:
                raise RequestError(name, f"A {name} of {value:g} s is not possible; choose 0 to 600.")

    @property
    def skipped(self) -> float:
        """Seconds of the file that are left out at its beginning."""
        return self.first_second + max(-self.at_seconds, 0.0)

    def heard_seconds(self, length: float) -> float | None:
        """How long it is heard in a mix of so many seconds; None if the length of its sound is not known."""
        if self.sound_seconds is None:
            return None
        asked = length if self.seconds is None else self.seconds
        return max(min(self.sound_seconds - self.skipped, asked, length - self.start), 0.0)

    @property
    def start(self) -> float:
        """When it is heard first."""
        return max(self.at_seconds, 0.0)
