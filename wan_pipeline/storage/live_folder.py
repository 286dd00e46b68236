"""The files of a folder, loaded, and loaded again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeVar

from wan_pipeline.errors import PresetError

T = TypeVar("T")


class LoadedFolder(dict[str, T]):
    """What a folder's TOML files hold, by their stems. `left_out` are those that cannot be read, with the reason."""

    def __init__(self, loaded: Mapping[str, T], left_out: Mapping[str, str]) -> None:
        super().__init__(loaded)
        self.left_out = left_out

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{reason} It is left out." for reason in self.left_out.values())


class LiveFolder(Mapping[str, T]):
    """A `LoadedFolder` that is never older than the files. Safe to share between threads."""

    def __init__(self, folder: Path, load: Callable[[Path], T], order: Callable[[T], object], *more: Path) -> None:
        """`order` sorts what is loaded. Files of the folders in `more` take the place of those of the same name."""
        self._folders = (folder, *more)
        self._load = load
        self._order = order
        self._lock = Lock()
        self._signature: Sequence[object] | None = None
        self._loaded: LoadedFolder[T] = LoadedFolder({}, {})

    def current(self) -> LoadedFolder[T]:
        """What is there now; later changes do not reach it."""
        with self._lock:
            if (signature := [_signature(folder) for folder in self._folders]) != self._signature:
                self._loaded, self._signature = load_folder(self._folders, self._load, self._order), signature
            return self._loaded

    def __getitem__(self, name: str) -> T:
        return self.current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.current())

    def __len__(self) -> int:
        return len(self.current())


def load_folder(folders: Sequence[Path], load: Callable[[Path], T], order: Callable[[T], object]) -> LoadedFolder[T]:
    """Load each TOML file, in `order`, and leave out those for which `load` raises PresetError."""
    loaded: dict[str, T] = {}
    left_out: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.toml"))):
        try:
            loaded[path.stem] = load(path)
        except PresetError as error:
            left_out[path.stem] = str(error)
    ordered = sorted(loaded.items(), key=lambda item: order(item[1]))  # type: ignore[arg-type,return-value]
    return LoadedFolder(dict(ordered), left_out)


def _signature(folder: Path) -> Sequence[object]:
    """Differs when a file has come, gone or changed."""
    try:
        with os.scandir(folder) as entries:
            files = [entry for entry in entries if entry.name.endswith(".toml")]
            return sorted((entry.name, *_version(entry)) for entry in files)
    except OSError:  # no such folder
        return []


def _version(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:  # just removed
        return 0, 0
    return status.st_mtime_ns, status.st_size
