"""Tracks mixed to a length: in points, fades, ducking, the formats that come in, and the waveform."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tests.clips.test_sound import RATE, heard, tone
from wan_pipeline.clips.sound.listen import loudness, waveform
from wan_pipeline.clips.sound.mix import mix
from wan_pipeline.clips.sound.track import Track
from wan_pipeline.errors import RequestError

TWO_SECONDS = Fraction(2)


def mixed(tmp_path: Path, *tracks: Track, lufs: float | None = None) -> np.ndarray:
    target = tmp_path / "mix.wav"
    mix(tracks, TWO_SECONDS, target, lufs=lufs)
    samples = heard(target).astype(float)
    return samples[:: samples.size // (2 * RATE)] / 2**31  # of a stereo mix, whose samples alternate, the left ones


def level(samples: np.ndarray, start: float, end: float) -> float:
    """RMS in decibels of a part in seconds."""
    return float(20 * np.log10(np.sqrt(np.mean(samples[int(start * RATE) : int(end * RATE)] ** 2)) + 1e-9))


def test_a_track_is_cut_faded_and_placed(tmp_path: Path) -> None:
    file = tone(tmp_path / "a.wav", 2, silence=1)
    samples = mixed(tmp_path, Track(file, at_seconds=0.5, first_second=1, seconds=1, fade_in=0.4, fade_out=0.4))
    assert len(samples) == 2 * RATE
    assert level(samples, 0, 0.49) < -80 and level(samples, 1.51, 2) < -80
    steady = level(samples, 0.95, 1.05)
    assert steady == pytest.approx(-23, abs=0.2)
    assert level(samples, 0.5, 0.6) < steady - 10 and level(samples, 1.4, 1.5) < steady - 10


def test_the_bed_is_lowered_under_a_voice(tmp_path: Path) -> None:
    bed, voice = tone(tmp_path / "bed.wav", 2), tone(tmp_path / "voice.wav", 1, level=0.15)
    alone = mixed(tmp_path, Track(bed), Track(voice, gain_db=-60, ducks_others=True))
    samples = mixed(tmp_path, Track(bed), Track(voice, ducks_others=True))
    voice_only = mixed(tmp_path, Track(voice))
    under = samples[:RATE] - voice_only[:RATE]
    assert level(under, 0.3, 0.9) < level(alone, 0.3, 0.9) - 6
    assert level(samples, 1.7, 1.95) == pytest.approx(level(alone, 1.7, 1.95), abs=1), "and comes back after it"


def test_a_mix_has_one_loudness(tmp_path: Path) -> None:
    tracks = (Track(tone(tmp_path / "a.wav", 2)), Track(tone(tmp_path / "b.wav", 1, 0.02), at_seconds=1))
    mixed(tmp_path, *tracks, lufs=-23)
    assert loudness(tmp_path / "mix.wav") == pytest.approx(-23, abs=0.3)


@pytest.mark.parametrize("ending", ["flac", "mp3", "m4a"])
def test_the_formats_that_come_in(tmp_path: Path, ending: str) -> None:
    source, file = tone(tmp_path / "a.wav", 1), tmp_path / f"a.{ending}"
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", source, file], check=True)
    assert level(mixed(tmp_path, Track(file)), 0.3, 0.7) == pytest.approx(-23, abs=0.6)


def test_a_waveform_shows_where_the_sound_is(tmp_path: Path) -> None:
    heights = waveform(tone(tmp_path / "a.wav", 1, level=0.5, silence=1), parts=10)
    assert len(heights) == 10 and max(heights[:5]) < 0.05
    assert heights[7] == pytest.approx(0.5, abs=0.03)
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    assert waveform(tmp_path / "b.wav") == ()


def test_the_file_at_fault_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(RequestError, match=r"b\.wav holds no sound"):
        mixed(tmp_path, Track(tone(tmp_path / "a.wav", 1)), Track(tmp_path / "b.wav"))
    for bad in ({"first_second": -1.0}, {"seconds": 0.0}, {"fade_in": -1.0}, {"fade_out": float("nan")}):
        with pytest.raises(RequestError):
            Track(tmp_path / "a.wav", **bad)
