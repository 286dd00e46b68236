"""Entries of the gallery, read from the receipts beside the clips of a folder, else from those inside them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
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
FileState = tuple[Path, int, int]
"""A file, its size, and its time in ns."""


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

    def __init__(self, folder: Path, foreign: set[FileState] | None = None) -> None:
        """Raises StorageError if the folder cannot be read.

        `foreign` are clips that earlier scans found no receipt in; they are not looked into again, and new ones join.
        """
        self.problems: list[str] = []
        self._folder = folder
        self._foreign = set() if foreign is None else foreign
        self.clips = self._names(folder)
        self.binned = self._names(folder / BIN) - self.clips

    def new_entries(self, listed: Mapping[str, str], unfinished: Collection[str] = ()) -> list[Entry]:
        """Read the clips that are not listed, oldest first. `listed` are the ids of the listed clips by file name.

        A clip of one of the `unfinished` jobs is being saved until there is a receipt beside it, which comes last.
        """
        now = datetime.now(UTC).isoformat()
        entries = self._read(self.clips - listed.keys(), self._folder, None, unfinished)
        entries += self._read(self.binned - listed.keys(), self._folder / BIN, now, unfinished)
        entries.sort(key=lambda entry: (entry.made_at, len(entry.clip), entry.clip))  # "x.mp4" before "x (1).mp4"
        present = self.clips | self.binned
        return _with_own_ids(entries, {listed[name] for name in listed if name in present})

    def _names(self, folder: Path) -> set[str]:
        """The MP4 files whose names the database and the page can hold."""
        names = list_clips(folder)
        bad = {name for name in names if name != printable(name)}
        self.problems += [f"{printable(name)} is not listed. Its name is not UTF-8; rename it." for name in bad]
        return names - bad

    def _read(
        self, names: Iterable[str], folder: Path, binned_at: str | None, unfinished: Collection[str]
    ) -> list[Entry]:
        entries = []
        for name in names:
            try:
                receipt = receipt_beside(folder / name) or self._receipt_of_copy(folder / name, unfinished)
            except ReceiptError as error:
                self.problems.append(f"{name} is not listed. {error}")
            else:
                entries += [_entry(receipt, name, binned_at)] if receipt else []
        return entries

    def _receipt_of_copy(self, clip: Path, unfinished: Collection[str]) -> Receipt | None:
        """The receipt inside a clip that was copied without the one beside it. Raises ReceiptError."""
        try:
            facts = clip.stat()
            state = clip, facts.st_size, facts.st_mtime_ns
            if state in self._foreign:
                return None
            receipt = receipt_inside(clip) if _may_hold_receipt(clip) else None
        except (StorageError, OSError):  # no video, perhaps not yet
            return None
        if receipt is None:
            self._foreign.add(state)
        return None if receipt and receipt.job in unfinished else receipt


def _entry(receipt: Receipt, name: str, binned_at: str | None) -> Entry:
    """The entry of a clip by its receipt and its name in the gallery."""
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


def _may_hold_receipt(clip: Path) -> bool:
    """Look for a receipt's words at both ends of a file, where its tags are: asking ffmpeg takes 50 ms a file.

    Raises OSError.
    """
    with clip.open("rb") as file:
        head = file.read(TAG_BYTES)
        file.seek(max(clip.stat().st_size - TAG_BYTES, 0))
        return RECEIPT_WORD in head or RECEIPT_WORD in file.read(TAG_BYTES)


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
