"""LoRAs by name, in one folder or several. No torch."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.experts import Expert, RememberedExperts
from wan_pipeline.lora.pairs import Lora, alone, find_pairs, half_of, single
from wan_pipeline.lora.reading.values import ValueReader
from wan_pipeline.models.names import is_text
from wan_pipeline.settings import Settings
from wan_pipeline.storage.hashes import FileHashes

SUFFIX = ".safetensors"
SETTLED_SECONDS = 2.0
"""A folder that changed less than this ago may change again without another time of change, which is this coarse."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Listing:
    """What is in the folders."""

    files: dict[str, tuple[str, Path]]
    """Name and path of each file, by name in small letters."""
    pairs: dict[str, Lora]
    """LoRAs by name in lower case."""
    loras: tuple[Lora, ...]
    """All, sorted by name; halves of a pair only as the pair."""
    hidden: tuple[tuple[str, Path], ...]
    """Files of further folders whose names are taken."""
    changed: dict[Path, int]
    """Time of change of each folder, in ns."""
    is_settled: bool
    """Whether equal times mean that nothing has changed since."""

    def is_current(self) -> bool:
        return self.is_settled and all(_time_of(folder) == changed for folder, changed in self.changed.items())


class LoraLibrary:
    """Finds the `*.safetensors` files of folders and of those in them, regardless of case, as on Windows.

    A file is named by its stem. One in a folder below is named with it (`characters/anna`), and found by the stem alone
    where no other has it. Of files of one name in two folders the one in the first counts.

    Two files that differ only in `high_noise` and `low_noise` are one LoRA, named by the rest of their stems. Each can
    still be used alone, by its own stem.
    """

    def __init__(self, folder: Path, more: Sequence[Path] = (), experts: RememberedExperts | None = None) -> None:
        """`folder` also receives what is trained; those of `more` are only read. `experts` is what people have said."""
        self.folder = folder
        self._experts = experts
        self.folders = (folder, *more)
        self.values = ValueReader()
        """Reads the values of its files."""
        self._reported: set[Path] = set()
        self._listing: _Listing | None = None

    @classmethod
    def of(cls, settings: Settings) -> LoraLibrary:
        """The library of a studio."""
        experts = RememberedExperts(settings.lora_experts, FileHashes(settings.cache / "hashes"))
        return cls(settings.loras, settings.more_loras, experts)

    def remember_expert(self, sha256: str, expert: Expert) -> None:
        """Remember which expert a person chose for a file that does not name one. Raises StorageError."""
        if self._experts is not None:
            self._experts.remember(sha256, expert)

    def expert_of(self, path: Path, *, quickly: bool = False) -> Expert | None:
        """What a person said of the file; `quickly`: if it has been hashed before. Raises OSError, StorageError."""
        return None if self._experts is None else self._experts.of(path, quickly=quickly)

    def all(self) -> tuple[Lora, ...]:
        """Every LoRA, sorted by name. Of files whose names differ only in case, the first counts."""
        return self._list().loras

    def names(self) -> list[str]:
        """The names of all LoRAs, sorted."""
        return [lora.name for lora in self.all()]

    def taken_names(self) -> set[str]:
        """All names, in lower case, that `find` finds, and those of halves and of files in subfolders."""
        listing = self._list()
        stems = {path.stem.casefold() for _, path in listing.files.values()}
        return {*listing.files, *listing.pairs, *stems}

    @property
    def notices(self) -> tuple[str, ...]:
        """A sentence about files that another of the same name hides."""
        listing = self._list()
        if not listing.hidden:
            return ()
        more = f", and {len(listing.hidden) - 1:,} more are hidden so" if len(listing.hidden) > 1 else ""
        name, path = listing.hidden[0]
        winner = listing.files[name.casefold()][1]
        return (f"LoRA '{name}' is {winner}; {path} has the same name, so it is left out{more}: rename it to use it.",)

    def find(self, name: str) -> Lora:
        """The LoRA of that name; a path is no name. Raises LoraError."""
        listing, key = self._list(), name.casefold()
        if key in listing.files:
            written, path = listing.files[key]
            return alone(path, written, listing.pairs.values())
        same = [entry for entry in listing.files.values() if entry[1].stem.casefold() == key]
        if len(same) == 1:
            return alone(same[0][1], same[0][0], listing.pairs.values())
        if key in listing.pairs:
            return listing.pairs[key]
        names = self.names()
        shown = ", ".join(names[:40]) + (f" and {len(names) - 40:,} more" if len(names) > 40 else "")
        folders = " or ".join(map(str, self.folders))
        raise LoraError(f"There is no LoRA '{name[:80]}' in {folders}; it holds: {shown or 'none yet'}.")

    def files(self, name: str) -> dict[str, Path]:
        """The files of a LoRA, by their names in a receipt: those of a pair by their own stems. Raises LoraError."""
        lora = self.find(name)
        return {path.stem: path for path in lora.paths} if lora.is_pair else {name: lora.paths[0]}

    def counterpart(self, path: Path) -> Path | None:
        """The other half of the pair that a file is of; None if it is of none."""
        pair = next((pair for pair in self._list().pairs.values() if path in pair.paths), None)
        return next((other for other in pair.paths if other != path), None) if pair else None

    def _list(self) -> _Listing:
        """The folders as they are now. They are walked again only when one has changed."""
        if self._listing is None or not self._listing.is_current():
            self._listing = self._walk()
        return self._listing

    def _walk(self) -> _Listing:
        now = time.time_ns()
        files: dict[str, tuple[str, Path]] = {}
        hidden: list[tuple[str, Path]] = []
        changed: dict[Path, int] = {}
        for folder in self.folders:
            for name, path in sorted(_files_in(folder, changed)):
                if not is_text(name):
                    self._report(path)
                elif files.setdefault(name.casefold(), (name, path))[1] != path:
                    hidden += [(name, path)] if folder != self.folder else []
        halves = {path: half for _, path in files.values() if (half := half_of(path))}
        pairs = find_pairs(files, halves.values())
        paired = {path for pair in pairs.values() for path in pair.paths}
        others = [single(path, name, halves.get(path)) for name, path in files.values() if path not in paired]
        loras = sorted([*others, *pairs.values()], key=lambda lora: lora.name.casefold())
        is_settled = all(now - at > SETTLED_SECONDS * 1e9 for at in changed.values())
        return _Listing(files, pairs, tuple(loras), tuple(hidden), changed, is_settled)

    def _report(self, path: Path) -> None:
        if path not in self._reported:
            self._reported.add(path)
            logger.warning("%r is left out: its name is not valid text; rename it.", str(path))


def _files_in(folder: Path, changed: dict[Path, int], start: str = "") -> Iterator[tuple[str, Path]]:
    """The name and path of each file below a folder. Notes in `changed` when a folder changed, before it is read."""
    changed[folder] = _time_of(folder)
    try:
        entries = list(os.scandir(folder))
    except OSError:  # there is none, or it may not be read
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in(folder / entry.name, changed, f"{start}{entry.name}/")
        elif entry.name.endswith(SUFFIX) and entry.is_file():
            yield start + entry.name.removesuffix(SUFFIX), folder / entry.name


def _time_of(folder: Path) -> int:
    """When a folder changed, in ns; 0 if there is none."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
