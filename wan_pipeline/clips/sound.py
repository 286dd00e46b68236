"""Sound under a clip: a new clip of the same pictures, with a file's sound cut to their length."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio_ffmpeg

from wan_pipeline.clips.export.source import open_source
from wan_pipeline.clips.ffmpeg import file_url, reading, write_error
from wan_pipeline.clips.naming import check_other, check_output, latents_path, poster_path
from wan_pipeline.clips.receipt import Receipt, Sound, load_receipt, receipt_inside, write_receipt
from wan_pipeline.errors import RequestError
from wan_pipeline.storage.files import whole_file

SAFE_SOUND = ["-protocol_whitelist", "file", "-format_whitelist", "wav,flac,mp3,aac,ogg,mov,matroska,aiff,w64"]
MAX_GAIN_DB = 60.0
LOUDNESS_RANGE = (-40.0, -5.0)
"""LUFS."""
PEAK_DB = -1.0
"""No sample is louder, of sound that is brought to a loudness: what lossy coding adds has room above it."""
SILENCE_LUFS = -69.0
"""EBU R128 does not count what is quieter than -70."""


@dataclass(frozen=True)
class SoundOrder:
    """Which sound, and how it lies under the pictures."""

    file: Path
    gain_db: float = 0.0
    at_seconds: float = 0.0
    """When it begins; if that is negative, so much of it is left out."""
    lufs: float | None = None
    """Bring what is heard to this integrated loudness (EBU R128)."""

    def __post_init__(self) -> None:
        """Raises RequestError."""
        if not abs(self.gain_db) <= MAX_GAIN_DB:
            raise RequestError("gain", f"A gain of {self.gain_db:g} dB is not possible; choose -60 to 60.")
        if not abs(self.at_seconds) <= 24 * 3600:
            raise RequestError("at", f"{self.at_seconds:g} s is no place in a clip; choose seconds from its beginning.")
        if self.lufs is not None and not LOUDNESS_RANGE[0] <= self.lufs <= LOUDNESS_RANGE[1]:
            raise RequestError("lufs", f"{self.lufs:g} LUFS is not possible; choose -40 to -5, such as -16 or -23.")


def add_sound(clip: Path, order: SoundOrder, output: Path | None = None) -> Path:
    """Make a new clip beside the old one, or at `output`, and return its path. The pictures are not encoded again.

    It has the old one's receipt, poster and latents, with the sound told in the receipt; sound that the old one had is
    not in it. Raises RequestError for a file that cannot be heard there, ReceiptError for a clip without a receipt,
    StorageError.
    """
    receipt, source = load_receipt(clip), open_source(clip, with_latents=False)
    filters = _filters(order, Fraction(source.frames) / source.rate)
    target = output or _free_name(clip)
    if output is not None:
        check_output(output)
        check_other(clip, output)
    with TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.m4a"
        _encode(order.file, filters, sound)
        facts = Sound(order.file.name[-255:], sound_sha256(sound), order.gain_db, order.at_seconds, order.lufs)
        changed = replace(receipt, sound=facts)
        is_inside = receipt_inside(clip) is not None
        _join(clip, sound, changed if is_inside else None, target)
    for of in (poster_path, latents_path):
        if of(clip).is_file():
            with whole_file(of(target)) as part:
                shutil.copyfile(of(clip), part)
        else:
            of(target).unlink(missing_ok=True)  # of a clip that `output` replaces
    write_receipt(changed, target)
    return target


def sound_sha256(path: Path) -> str | None:
    """Hash of a file's first sound as it is encoded, which a copy into another container keeps; None without sound.

    Raises StorageError for a file that cannot be read.
    """
    result = _run(
        [*reading(path), "-map", "0:a:0?", "-vn", "-sn", "-dn", "-c", "copy", "-f", "hash", "-hash", "sha256", "-"]
    )
    found = re.search(r"SHA256=([0-9a-f]{64})", result.stdout)
    if result.returncode != 0 and "does not contain any stream" not in result.stderr:
        raise write_error(f"The sound of {path.name}", result.stderr)
    return found[1] if found else None


def loudness(file: Path, filters: str = "") -> float:
    """Integrated loudness in LUFS (EBU R128). Raises RequestError for no sound, StorageError."""
    measured = f"{filters},ebur128=framelog=quiet" if filters else "ebur128=framelog=quiet"
    result = _run([*_hearing(file, "info"), "-map", "0:a:0", "-af", measured, "-f", "null", "-"])
    found = re.findall(r"I:\s+(-?[\d.]+|-inf) LUFS", result.stderr)
    if result.returncode != 0 or not found:
        raise _no_sound(file)
    return float(found[-1])


def _filters(order: SoundOrder, seconds: Fraction) -> str:
    """ffmpeg's filters from the file to the sound of the clip, `seconds` long. Raises RequestError."""
    place = f"adelay={round(order.at_seconds * 1000)}:all=1," if order.at_seconds > 0 else ""
    skipped = f"atrim=start={-order.at_seconds:.6f},asetpts=PTS-STARTPTS," if order.at_seconds < 0 else ""
    cut = f"aresample=48000,{skipped}{place}atrim=end={float(seconds):.6f}"
    level = f"volume={order.gain_db:.6f}dB"
    if order.lufs is not None:
        now = loudness(order.file, cut)
        if now < SILENCE_LUFS:
            raise RequestError("lufs", f"{order.file.name} is silent under the clip; choose another place with --at.")
        level = f"volume={order.lufs - now + order.gain_db:.6f}dB,alimiter=limit={PEAK_DB}dB:level=0"
    return f"{cut},{level},apad=whole_dur={float(seconds):.6f}"


def _encode(file: Path, filters: str, target: Path) -> None:
    command = [*_hearing(file), "-y", "-map", "0:a:0", "-af", filters, "-c:a", "aac", "-b:a", "256k"]
    result = _run([*command, "-fflags", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1", file_url(target)])
    if result.returncode != 0:
        raise _no_sound(file)


def _join(clip: Path, sound: Path, receipt: Receipt | None, target: Path) -> None:
    """Copy the pictures of one file and the sound of another into an MP4. Raises StorageError."""
    comment = "" if receipt is None else json.dumps(receipt.to_dict(), ensure_ascii=False, sort_keys=True)
    streams = ["-i", file_url(sound), "-map", "0:v:0", "-map", "1:a:0", "-c", "copy", "-map_metadata", "-1"]
    with whole_file(target) as part:
        output = ["-metadata", f"comment={comment}", "-movflags", "+faststart", "-f", "mp4", "-y", file_url(part)]
        result = _run([*reading(clip), *streams, *output])
        if result.returncode != 0:
            raise write_error(f"The clip {target.name}", result.stderr)


def _hearing(file: Path, verbosity: str = "error") -> list[str]:
    """The beginning of a command line that reads a sound file."""
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-nostats", "-v", verbosity, *SAFE_SOUND, "-i", file_url(file)]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace"
    )


def _no_sound(file: Path) -> RequestError:
    return RequestError("file", f"{file} holds no sound that can be read; choose a WAV, FLAC, MP3 or M4A file.")


def _free_name(clip: Path) -> Path:
    names = chain([f"{clip.stem}_sound"], (f"{clip.stem}_sound{number}" for number in count(2)))
    return next(path for name in names if not (path := clip.with_name(f"{name}.mp4")).exists())
