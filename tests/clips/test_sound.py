"""Sound under clips: the pictures stay, the length is theirs, and the loudness is what was asked for."""

from __future__ import annotations

import json
import subprocess
import wave
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tests.cli.test_clips import MODEL, QUICK
from wan_pipeline.cli import main
from wan_pipeline.clips.compare import likeness_db
from wan_pipeline.clips.latents import read_latents
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.clips.sound.add import SoundOrder, add_sound, name_with_sound
from wan_pipeline.clips.sound.listen import loudness, sound_sha256
from wan_pipeline.errors import RequestError

RATE = 48_000


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_demo: Path) -> list[str]:
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    (home / "models" / MODEL).symlink_to(tiny_demo, target_is_directory=True)
    return [f"--{name}={home / name.split('-')[0]}" for name in ("workspace", "models-folder", "loras-folder")]


@pytest.fixture(scope="module")
def long_clip(folders: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 49 frames at 24 a second: EBU R128 needs 0.4 s to measure. Read only."""
    clip = tmp_path_factory.mktemp("clip") / "a.mp4"
    settings = ["--width", "160", "--height", "128", "--frames", "49", "--steps", "1", "--prompt", "a red ball"]
    assert main([*folders, "generate", "--model", MODEL, *settings, "--output", str(clip)]) == 0
    return clip


def tone(path: Path, seconds: float, level: float = 0.1, silence: float = 0.0) -> Path:
    times = np.arange(int(seconds * RATE)) / RATE
    samples = np.concatenate([np.zeros(int(silence * RATE)), level * np.sin(2 * np.pi * 997 * times)])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((samples * 32_767).astype("<i2").tobytes())
    return path


def heard(clip: Path) -> np.ndarray:
    """Samples of the first channel, by FFmpeg's libraries."""
    with av.open(str(clip)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.mark.parametrize("seconds", [0.5, 10.0])
def test_the_sound_has_the_pictures_length(long_clip: Path, tmp_path: Path, seconds: float) -> None:
    new = add_sound(long_clip, SoundOrder(tone(tmp_path / "a.wav", seconds)), tmp_path / "new.mp4")
    with av.open(str(new)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert picture.frames == 49
        assert float(sound.duration * sound.time_base) == pytest.approx(49 / 24, abs=0.03)
    assert likeness_db(long_clip, new) == float("inf")
    receipt = load_receipt(new)
    assert receipt.frames_sha256 == load_receipt(long_clip).frames_sha256
    assert receipt.sound is not None and receipt.sound.sha256 == sound_sha256(new)
    assert read_latents(new, receipt.latents) and sound_sha256(long_clip) is None
    assert new.with_suffix(".webp").is_file() and load_receipt(long_clip).sound is None


def test_place_and_gain(long_clip: Path, tmp_path: Path) -> None:
    order = SoundOrder(tone(tmp_path / "a.wav", 0.5), gain_db=6.0206, at_seconds=1.0)
    samples = heard(add_sound(long_clip, order, tmp_path / "late.mp4"))
    assert abs(samples[: int(0.9 * RATE)]).max() < 0.002 and abs(samples[int(1.7 * RATE) :]).max() < 0.002
    assert abs(samples[int(1.1 * RATE) : int(1.4 * RATE)]).max() == pytest.approx(0.2, rel=0.05)
    order = SoundOrder(tone(tmp_path / "b.wav", 0.5, silence=1.0), at_seconds=-1.0)
    samples = heard(add_sound(long_clip, order, tmp_path / "early.mp4"))
    assert abs(samples[int(0.1 * RATE) : int(0.4 * RATE)]).max() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("lufs", [-16.0, -23.0])
def test_loudness_is_that_of_ebu_r128(long_clip: Path, tmp_path: Path, lufs: float) -> None:
    new = add_sound(long_clip, SoundOrder(tone(tmp_path / "a.wav", 3.0, 0.02), lufs=lufs), tmp_path / "new.mp4")
    assert loudness(new) == pytest.approx(lufs, abs=0.5)
    level = np.sqrt(np.mean(heard(new)[RATE // 2 : RATE] ** 2))
    assert 20 * np.log10(level) == pytest.approx(lufs, abs=0.8), "of 997 Hz in one channel, by ITU-R BS.1770"


def test_a_name_for_a_clip_with_sound_is_free_in_the_bin_too(tmp_path: Path) -> None:
    clip = tmp_path / "clips" / "1" / "a.mp4"
    for name in (
        "clips/1/a_sound.mp4",
        "clips/bin/1/a_sound2.mp4",
        "clips/bin/1/a_sound3.latents",
        "bin/1/a_sound4.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert name_with_sound(clip, tmp_path / "clips") == clip.with_name("a_sound4.mp4")
    assert name_with_sound(tmp_path / "a.mp4", tmp_path / "clips") == tmp_path / "a_sound.mp4"


def test_what_is_no_sound_is_refused(long_clip: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n", encoding="utf-8")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    for file in (playlist, tmp_path / "a.wav", tmp_path / "nothing.wav", long_clip):
        with pytest.raises(RequestError, match="holds no sound"):
            add_sound(long_clip, SoundOrder(file), tmp_path / "new.mp4")
    with pytest.raises(RequestError, match="is silent"):
        add_sound(long_clip, SoundOrder(tone(tmp_path / "b.wav", 1, 0.0), lufs=-16), tmp_path / "new.mp4")
    for bad in ({"gain_db": 61.0}, {"gain_db": float("nan")}, {"at_seconds": 1e9}, {"lufs": 0.0}):
        with pytest.raises(RequestError):
            SoundOrder(tmp_path / "b.wav", **bad)
    assert not (tmp_path / "new.mp4").exists()
    before = long_clip.read_bytes()
    with pytest.raises(RequestError, match="is the clip itself"):
        add_sound(long_clip, SoundOrder(tone(tmp_path / "c.wav", 1)), long_clip)
    assert long_clip.read_bytes() == before


@pytest.mark.soak
def test_on_the_command_line_and_verified(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, sound = tmp_path / "a.mp4", tone(tmp_path / "a.wav", 2)
    assert main([*folders, "generate", "--model", MODEL, *QUICK, "--output", str(clip)]) == 0
    capsys.readouterr()
    assert main([*folders, "sound", "add", str(clip), str(sound), "--gain", "-6", "--at", "0.05", "--json"]) == 0
    new = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["clip"])
    assert new == tmp_path / "a_sound.mp4" and clip.is_file()
    assert main([*folders, "show", str(new)]) == 0
    assert "a.wav, -6 dB" in capsys.readouterr().out
    assert main([*folders, "verify", str(new)]) == 0
    other = tmp_path / "other.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", new, "-c", "copy", "-af", "volume=0.5", other]
    subprocess.run([*command[:-1], "-c:a", "aac", other], check=True)
    capsys.readouterr()
    assert main([*folders, "verify", str(other), "--json"]) == 1
    assert "The sound is not the one in the receipt" in capsys.readouterr().out
