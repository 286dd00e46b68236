"""A clip with sound: a new clip of the same pictures, with sound cut to their length."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

from wan_pipeline.clips.export.source import open_source
from wan_pipeline.clips.ffmpeg import file_url, reading, write_error
from wan_pipeline.clips.files import BIN, is_free
from wan_pipeline.clips.naming import check_other, check_output, latents_path, poster_path
from wan_pipeline.clips.receipt import MadeSound, Receipt, Sound, load_receipt, receipt_inside, write_receipt
from wan_pipeline.clips.sound.listen import loudness, run, sound_sha256
from wan_pipeline.clips.sound.mix import check_loudness, mix
from wan_pipeline.clips.sound.track import Track
from wan_pipeline.storage.files import whole_file


@dataclass(frozen=True)
class SoundOrder:
    """Which sound, and how it lies under the pictures. Fields are those of `Track`."""

    file: Path
    gain_db: float = 0.0
    at_seconds: float = 0.0
    lufs: float | None = None
    """Bring what is heard to this integrated loudness (EBU R128)."""
    fade_in: float = 0.0
    fade_out: float = 0.0
    over: Path | None = None
    """A second sound, such as a voice, heard from the beginning; the first one is lowered while it is heard."""
    made: MadeSound | None = None
    """How a model made the file."""

    def __post_init__(self) -> None:
        """Raises RequestError."""
        check_loudness(self.lufs)
        _ = self.tracks  # which check their numbers

    @property
    def tracks(self) -> tuple[Track, ...]:
        bed = Track(
            self.file,
            at_seconds=self.at_seconds,
            gain_db=self.gain_db,
            fade_in=self.fade_in,
            fade_out=self.fade_out,
        )
        return (bed,) if self.over is None else (bed, Track(self.over, ducks_others=True))

    def told(self, sound: Path) -> Sound:
        """What the receipt says of the finished sound."""
        return Sound(
            file=self.file.name[-255:],
            sha256=sound_sha256(sound),
            gain_db=self.gain_db,
            at_seconds=self.at_seconds,
            lufs=self.lufs,
            fade_in=self.fade_in,
            fade_out=self.fade_out,
            over=self.over.name[-255:] if self.over else "",
            measured_lufs=_measured(sound),
            made=self.made,
        )


def name_with_sound(clip: Path, clips: Path) -> Path:
    """The first free name beside a clip for one with sound.

    In the folder of clips none in the bin has it either: from there it could not be put back.
    """
    names = chain([f"{clip.stem}_sound.mp4"], (f"{clip.stem}_sound{number}.mp4" for number in count(2)))
    folder, whole = clip.parent.resolve(), clips.resolve()
    places = [folder, whole / BIN / folder.relative_to(whole)] if folder.is_relative_to(whole) else [folder]
    return next(clip.with_name(name) for name in names if is_free(name, *places))


def add_sound(clip: Path, order: SoundOrder, output: Path) -> Path:
    """Make a new clip at `output`, and return its path. The pictures are not encoded again.

    It has the old one's receipt, poster and latents, with the sound told in the receipt; sound that the old one had is
    not in it. Raises RequestError for a file that cannot be heard there, ReceiptError for a clip without a receipt,
    StorageError.
    """
    receipt, source = load_receipt(clip), open_source(clip, with_latents=False)
    check_output(output)
    check_other(clip, output)
    with TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.m4a"
        mix(order.tracks, Fraction(source.frames) / source.rate, sound, lufs=order.lufs)
        changed = replace(receipt, sound=order.told(sound))
        is_inside = receipt_inside(clip) is not None
        _join(clip, sound, changed if is_inside else None, output)
    for of in (poster_path, latents_path):
        if of(clip).is_file():
            with whole_file(of(output)) as part:
                shutil.copyfile(of(clip), part)
        else:
            of(output).unlink(missing_ok=True)  # of a clip that it replaces
    write_receipt(changed, output)
    return output


def _measured(sound: Path) -> float | None:
    """Integrated loudness; None for silence, which has none."""
    found = loudness(sound)
    return round(found, 1) if found > -100 else None


def _join(clip: Path, sound: Path, receipt: Receipt | None, target: Path) -> None:
    """Copy the pictures of one file and the sound of another into an MP4. Raises StorageError."""
    comment = "" if receipt is None else json.dumps(receipt.to_dict(), ensure_ascii=False, sort_keys=True)
    streams = ["-i", file_url(sound), "-map", "0:v:0", "-map", "1:a:0", "-c", "copy", "-map_metadata", "-1"]
    with whole_file(target) as part:
        output = ["-metadata", f"comment={comment}", "-movflags", "+faststart", "-f", "mp4", "-y", file_url(part)]
        result = run([*reading(clip), *streams, *output])
        if result.returncode != 0:
            raise write_error(f"The clip {target.name}", result.stderr)
