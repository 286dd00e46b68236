"""The sound of a cut: that of its clips at their places, with crossfades, mixed as any other sound is."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips.test_sound import RATE, heard, tone
from tests.support.films import moving
from tests.support.observers import Recorder
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.export.source import Source
from wan_pipeline.clips.sound.mix import mix
from wan_pipeline.clips.sound.track import Track
from wan_pipeline.errors import Cancelled, StorageError
from wan_pipeline.progress import Progress, SilentObserver, Stage
from wan_pipeline.projects.cut.rendering.sequence import KnownClips, Piece, Sequence
from wan_pipeline.projects.cut.rendering.sound import MOST_FILES, cut_sound

FILM = Fraction(24000, 1001)


def sound_of(folder: Path, name: str, seconds: int, level: float = 0.1) -> Path:
    """A tone in the container that clips have."""
    mix([Track(tone(folder / f"{name}.wav", seconds, level))], Fraction(seconds), folder / f"{name}.m4a")
    return folder / f"{name}.m4a"


def piece(clip: Path, frames: int, dissolve: int = 0, rate: Fraction = FILM, first: int = 0) -> Piece:
    return Piece(Source(clip, rate, (96, 64), first + frames, None, None), first, first + frames, dissolve)


def sounding(sequence: Sequence, folder: Path) -> np.ndarray:
    """The left channel, from -1 to 1."""
    found = cut_sound(sequence, folder, KnownClips().sound_seconds, SilentObserver())
    assert found is not None
    samples = heard(found).astype(float) / 2**31
    return samples.reshape(-1, len(samples) // round(sequence.frames / sequence.rate * RATE))[:, 0]


def level(samples: np.ndarray, first: int, end: int) -> float:
    """RMS of frames of the cut."""
    return float(np.sqrt(np.mean(samples[int(first / FILM * RATE) : int(end / FILM * RATE)] ** 2)))


def test_each_clip_sounds_at_its_place_and_fades_with_its_dissolve(tmp_path: Path) -> None:
    sound, silent = sound_of(tmp_path, "a", 3), sound_of(tmp_path, "b", 3, 0.0)
    card = Piece(Source(Path("Black"), FILM, (96, 64), 12, None, None), 0, 12, is_card=True)
    cut = Sequence("main", FILM, (piece(sound, 24), piece(silent, 24, dissolve=8), card, piece(sound, 12, first=5)))
    samples = sounding(cut, tmp_path)
    assert len(samples) == round(64 / FILM * RATE)
    steady = level(samples, 2, 14)
    assert level(samples, 16, 18) > 0.7 * steady and 0 < level(samples, 22, 24) < 0.3 * steady, "it fades out"
    assert level(samples, 25, 51) < 1e-4, "the silent clip and the card"
    assert level(samples, 53, 63) == pytest.approx(steady, rel=0.02)


def test_many_clips_are_mixed_in_parts_to_the_same_sound(tmp_path: Path) -> None:
    sound = sound_of(tmp_path, "a", 1)
    (tmp_path / "parts").mkdir()
    cut = Sequence("main", FILM, (piece(sound, 6), *(piece(sound, 6, dissolve=2) for _ in range(MOST_FILES))))
    samples = sounding(cut, tmp_path / "parts")
    few = Sequence("main", FILM, cut.pieces[:MOST_FILES])
    assert len(samples) == round(cut.frames / FILM * RATE)
    end = round((few.frames - 2) / FILM * RATE)
    assert np.abs(samples[:end] - sounding(few, tmp_path)[:end]).max() < 1e-5
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {"cut.wav", "1-0.wav", "1-1.wav"}


def test_a_clip_at_another_rate_has_no_sound_in_the_cut(tmp_path: Path) -> None:
    other = piece(sound_of(tmp_path, "a", 1), 12, rate=Fraction(16))
    sequence = Sequence("main", FILM, (other,))
    assert cut_sound(sequence, tmp_path, KnownClips().sound_seconds, SilentObserver()) is None


def many(sound: Path) -> Sequence:
    """A cut that is mixed in three parts and then as one."""
    return Sequence("main", FILM, tuple(piece(sound, 6, dissolve=2 * bool(n)) for n in range(2 * MOST_FILES + 1)))


def test_how_far_it_is_is_told_by_clip_and_by_mix(tmp_path: Path) -> None:
    observer = Recorder()
    cut_sound(many(sound_of(tmp_path, "a", 1)), tmp_path, KnownClips().sound_seconds, observer)
    steps = [(0, 1), (0, 4), (1, 4), (2, 4), (3, 4)]
    assert observer.reports == [Progress(Stage.LOADING, *step) for step in steps]


@pytest.mark.parametrize("stop_at", [0, 2])
def test_it_is_cancelled_between_clips_and_between_mixes(tmp_path: Path, stop_at: int) -> None:
    observer = Recorder((Stage.LOADING, stop_at))
    with pytest.raises(Cancelled, match="The cut was cancelled"):
        cut_sound(many(sound_of(tmp_path, "a", 1)), tmp_path, KnownClips().sound_seconds, observer)
    assert observer.reports[-1].step == stop_at and not (tmp_path / "cut.wav").exists()


def test_a_clip_is_heard_once_however_often_it_is_in_the_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, sequence = KnownClips(), many(sound_of(tmp_path, "a", 1))
    commands: list[list[str]] = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    for runs in (1 + 4, 4):
        commands.clear()
        cut_sound(sequence, tmp_path, known.sound_seconds, SilentObserver())
        assert len(commands) == runs, "one for its length, and the mixes"


def test_a_clip_without_sound_has_no_length_and_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    known, bad = KnownClips(), tmp_path / "bad.mp4"
    encode(moving(1), 8, tmp_path / "mute.mp4", None)
    bad.write_bytes(b"no video")
    assert known.sound_seconds(tmp_path / "mute.mp4") is None
    assert known.sound_seconds(sound_of(tmp_path, "a", 1)) == pytest.approx(1.0, abs=0.03)
    with pytest.raises(StorageError, match=r"bad\.mp4"):
        known.sound_seconds(bad)
