"""What is read of sound files, trusted or not: how long, how loud, which bits, and what they look like."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from wan_pipeline.clips.ffmpeg import file_url, reading, write_error
from wan_pipeline.errors import RequestError

SAFE_SOUND = ["-protocol_whitelist", "file", "-format_whitelist", "wav,flac,mp3,aac,ogg,mov,matroska,aiff,w64"]
ENDINGS = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".aif", ".aiff")
"""Of the files that a person is offered to choose."""
SILENCE_LUFS = -69.0
"""EBU R128 does not count what is quieter than -70."""
NO_STREAM = "does not contain any stream"
"""What ffmpeg says of a file that has none of the streams that are asked for."""
WAVEFORM_RATE = 4000
"""Samples a second that a waveform is drawn from."""


def sound_sha256(path: Path) -> str | None:
    """Hash of a file's first sound as it is encoded, which a copy into another container keeps; None without sound.

    Raises StorageError for a file that cannot be read.
    """
    result = run(
        [*reading(path), "-map", "0:a:0?", "-vn", "-sn", "-dn", "-c", "copy", "-f", "hash", "-hash", "sha256", "-"]
    )
    found = re.search(r"SHA256=([0-9a-f]{64})", result.stdout)
    if result.returncode != 0 and NO_STREAM not in result.stderr:
        raise write_error(f"The sound of {path.name}", result.stderr)
    return found[1] if found else None


def loudness(file: Path) -> float:
    """Integrated loudness in LUFS (EBU R128); about -70 or -inf for silence. Raises RequestError for no sound."""
    return loudness_of([file], "[0:a:0]anull[out]")


def loudness_of(files: Sequence[Path], graph: str) -> float:
    """As `loudness`, of what ffmpeg's filters make of the files at their end `[out]`."""
    command = [*hearing(files, "info"), "-filter_complex", f"{graph};[out]ebur128=framelog=quiet[heard]"]
    result = run([*command, "-map", "[heard]", "-f", "null", "-"])
    found = re.findall(r"I:\s+(-?[\d.]+|-inf) LUFS", result.stderr)
    if result.returncode != 0 or not found:
        raise no_sound(files, result.stderr)
    return float(found[-1])


def seconds_of(file: Path, filters: str = "anull") -> float:
    """Length of a file's sound after ffmpeg's filters, by decoding it. Raises RequestError for no sound."""
    command = [*hearing([file]), "-map", "0:a:0", "-af", filters, "-f", "null", "-progress", "pipe:1", "-"]
    result = run(command)
    found = re.findall(r"out_time_us=(\d+)", result.stdout)
    if result.returncode != 0:
        raise no_sound([file], result.stderr)
    return int(found[-1]) / 1e6 if found else 0.0


def sound_seconds(path: Path) -> float | None:
    """Length of a file's first sound, by decoding it; None without sound. Raises StorageError for no readable file."""
    output = ["-map", "0:a:0?", "-vn", "-sn", "-dn", "-f", "null", "-progress", "pipe:1", "-"]
    result = run([*hearing([path]), *output])
    if result.returncode == 0:
        found = re.findall(r"out_time_us=(\d+)", result.stdout)
        return int(found[-1]) / 1e6 if found else 0.0
    if NO_STREAM in result.stderr:
        return None
    raise write_error(f"The sound of {path.name}", result.stderr)


def waveform(file: Path, parts: int = 120) -> tuple[float, ...]:
    """The highest level, 0 to 1, of each of so many equal parts of a file's first sound; none without sound.

    Memory is that of the sound at 4,000 samples a second: 8 kB a second.
    """
    output = ["-map", "0:a:0", "-ac", "1", "-ar", str(WAVEFORM_RATE), "-f", "s16le", "-"]
    result = subprocess.run([*hearing([file]), *output], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    samples = np.frombuffer(result.stdout[: len(result.stdout) // 2 * 2], "<i2")
    if result.returncode != 0 or not len(samples):
        return ()
    heights = [abs(part.astype(np.int32)).max() for part in np.array_split(samples, min(parts, len(samples)))]
    return tuple(round(float(height) / 32_768, 4) for height in heights)


def hearing(files: Sequence[Path], verbosity: str = "error") -> list[str]:
    """The beginning of a command line that reads sound files."""
    inputs = [part for file in files for part in (*SAFE_SOUND, "-i", file_url(file))]
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-nostats", "-v", verbosity, *inputs]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace"
    )


def no_sound(files: Sequence[Path], output: str) -> Exception:
    """The error of a command that failed: about the first file that cannot be heard, else what ffmpeg says."""
    for file in files:
        probe = [*hearing([file]), "-map", "0:a:0", "-t", "0.1", "-f", "null", "-"]
        if len(files) == 1 or run(probe).returncode != 0:
            problem = f"{file} holds no sound that can be read; choose a WAV, FLAC, MP3 or M4A file."
            return RequestError("file", problem)
    return write_error("The sound", output)
