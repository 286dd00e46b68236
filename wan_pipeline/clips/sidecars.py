"""Entries of the gallery, read from the receipts beside the clips of a folder, else from those inside them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline.clips.files import BIN, list_clips
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.clips.receipt import Receipt, receipt_beside, receipt_inside
from wan_pipeline.errors import ReceiptError, StorageError
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.outside import printable

TAG_BYTES = 256 * 1024
RECEIPT_WORD = b"frames_sha256"
SAVING_SECONDS = 60.0


@dataclass(frozen=True)
class Entry:
    """A new row of the gallery. Files are named, without their folder."""

    id: str
    request: GenerationRequest
    clip: str
    poster: str
    made_at: str
    """ISO 8601, UTC."""
    frames_sha256: str
    seconds: float
    """Time that the clip took to make."""
    project: str = ""
    made_by: str = ""
    """Id of a guest's key; empty for the owner's clips."""
    note: str = ""
    """What the clip's job had for a note."""
    binned_at: str | None = None


class FolderScan:
    """The clips in a folder and its bin at one moment. `problems` has one sentence for each that cannot be listed."""

    def __init__(self, folder: Path) -> None:
        """Raises StorageError if the folder cannot be read."""
        self.problems: list[str] = []
        self._folder = folder
        self.clips = self._names(folder)
        self.binned = self._names(folder / BIN) - self.clips

    def new_entries(self, listed: Mapping[str, str]) -> list[Entry]:
        """Read the clips that are not listed, oldest first. `listed` are the ids of the listed clips by file name."""
        now = datetime.now(UTC).isoformat()
        entries = self._read(self.clips - listed.keys(), self._folder, None)
        entries += self._read(self.binned - listed.keys(), self._folder / BIN, now)
        entries.sort(key=lambda entry: (entry.made_at, len(entry.clip), entry.clip))  # "x.mp4" before "x (1).mp4"
        present = self.clips | self.binned
        return _with_own_ids(entries, {listed[name] for name in listed if name in present})

    def _names(self, folder: Path) -> set[str]:
        """The MP4 files whose names the database and the page can hold."""
        names = list_clips(folder)
        bad = {name for name in names if name != printable(name)}
        self.problems += [f"{printable(name)} is not listed. Its name is not UTF-8; rename it." for name in bad]
        return names - bad

    def _read(self, names: Iterable[str], folder: Path, binned_at: str | None) -> list[Entry]:
        entries = []
        for name in names:
            try:
                entry = read_entry(folder / name, binned_at, name)
            except ReceiptError as error:
                self.problems.append(f"{name} is not listed. {error}")
            else:
                entries += [entry] if entry else []
        return entries


def read_entry(clip: Path, binned_at: str | None = None, name: str = "") -> Entry | None:
    """Read the entry of an MP4; None if it has no receipt. Raises ReceiptError if that cannot be read.

    `name` is the clip's in the gallery, if it lies in a folder below.
    """
    name = name or clip.name
    receipt = receipt_beside(clip) or _receipt_of_copy(clip)
    if receipt is None:
        return None
    return Entry(
        id=receipt.job or id_of_file(name),
        request=receipt.request,
        clip=name,
        poster=poster_path(Path(name)).as_posix(),
        made_at=receipt.made_at.astimezone(UTC).isoformat(),
        frames_sha256=receipt.frames_sha256,
        seconds=sum(receipt.seconds.values()),
        project=receipt.project,
        made_by=receipt.made_by,
        binned_at=binned_at,
    )


def _receipt_of_copy(clip: Path) -> Receipt | None:
    """The receipt inside a clip that was copied without the one beside it. Raises ReceiptError."""
    try:
        receipt = receipt_inside(clip) if _may_hold_receipt(clip) else None
        return None if receipt and _is_being_saved(clip, receipt.job) else receipt
    except (StorageError, OSError):  # no video, perhaps not yet
        return None


def _is_being_saved(clip: Path, job: str) -> bool:
    """Whether it has the name of a job's own clip, no receipt beside it, and is new: the worker writes that last."""
    is_own = bool(job) and re.fullmatch(rf"\d{{4}}-\d\d-\d\d_.*_{job[:8]}\.mp4", clip.name) is not None
    return is_own and time.time() - clip.stat().st_mtime < SAVING_SECONDS


def _may_hold_receipt(clip: Path) -> bool:
    """Look for a receipt's words at both ends of a file, where its tags are: asking ffmpeg takes 50 ms a file."""
    try:
        with clip.open("rb") as file:
            head = file.read(TAG_BYTES)
            file.seek(max(clip.stat().st_size - TAG_BYTES, 0))
            return RECEIPT_WORD in head or RECEIPT_WORD in file.read(TAG_BYTES)
    except OSError:
        return False


def _with_own_ids(entries: Iterable[Entry], taken: set[str]) -> list[Entry]:
    """Give copies of a clip, whose receipts all name the same job, ids of their own."""
    own = []
    for entry in entries:
        own.append(replace(entry, id=id_of_file(entry.clip)) if entry.id in taken else entry)
        taken.add(own[-1].id)
    return own


def id_of_file(name: str) -> str:
    """An id for a clip without a job: the file's stem, or its hash if it holds what an id does not."""
    stem = Path(name).with_suffix("").as_posix()
    return stem if re.fullmatch(r"[\w-]{1,64}", stem, re.ASCII) else hashlib.sha256(stem.encode()).hexdigest()[:32]
