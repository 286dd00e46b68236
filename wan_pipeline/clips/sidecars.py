"""Entries of the gallery, read from the receipts beside the clips of a folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline.clips.files import BIN, list_clips
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.clips.receipt import receipt_beside
from wan_pipeline.errors import ReceiptError
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.outside import printable


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
        entries.sort(key=lambda entry: (entry.made_at, entry.clip))
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
    receipt = receipt_beside(clip)
    if receipt is None:  # not ours, or not finished: the receipt is written last
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
