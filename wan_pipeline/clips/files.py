"""The files of a clip, MP4, poster, receipt and latents: listed, moved and deleted together."""

from __future__ import annotations

import os
from pathlib import Path

from wan_pipeline.clips.naming import latents_path, poster_path, receipt_path
from wan_pipeline.errors import StorageError

BIN = "bin"
"""The folder of deleted clips, in the clips folder."""


class ClipFileError(StorageError):
    """A file that cannot be moved or deleted."""


def list_clips(folder: Path, below: str = "") -> set[str]:
    """The MP4 files in a folder and those in it, but for its bin, named from it with "/"; none if it is not there.

    Links to folders are not followed. Raises StorageError.
    """
    names: set[str] = set()
    try:
        with os.scandir(folder / below) as entries:  # much quicker than a glob for 10,000 clips
            for entry in entries:
                if entry.name.endswith(".mp4") and entry.is_file():
                    names.add(below + entry.name)
                elif entry.is_dir(follow_symlinks=False) and below + entry.name != BIN:
                    names |= list_clips(folder, f"{below}{entry.name}/")
        return names
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise StorageError(f"The folder {folder} cannot be read ({error.strerror}); check its permissions.") from error


def move_files(clip: str, source: Path, target: Path) -> None:
    """Move a clip from one folder to another. Raises ClipFileError, before anything is moved if a name is taken there.

    The MP4 goes first: after a crash between two files, it decides where the clip belongs. Files that are not there are
    skipped: they may have been moved.
    """
    present = [name for name in _names(clip) if (source / name).exists()]
    if taken := next((name for name in present if (target / name).exists()), None):
        raise ClipFileError(
            f"{taken} cannot be moved to {target} (another file has its name there); rename or delete one of the two."
        )
    for name in present:
        try:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).replace(target / name)
        except OSError as error:
            raise ClipFileError(
                f"{name} cannot be moved to {target} ({error.strerror}); close what has it open and try again."
            ) from error


def rename_files(clip: str, new: str, folder: Path) -> None:
    """Give a clip of a folder another name there. Raises ClipFileError, and then nothing is renamed."""
    pairs = [(folder / old, folder / name) for old, name in zip(_names(clip), _names(new), strict=True)]
    present = [(old, name) for old, name in pairs if old.exists()]
    if taken := next((name for _, name in present if name.exists()), None):
        raise ClipFileError(f"{clip} cannot be renamed: there is a file {taken} already; rename or delete it.")
    done: list[tuple[Path, Path]] = []
    try:
        for old, name in present:
            name.parent.mkdir(parents=True, exist_ok=True)
            old.replace(name)
            done.append((old, name))
    except OSError as error:
        for old, name in done:
            name.replace(old)
        raise ClipFileError(
            f"{clip} cannot be renamed to {new} ({error.strerror}); close what has it open and try again."
        ) from error


def is_free(name: str, *folders: Path) -> bool:
    """Whether no file of a clip of that name is in any of the folders."""
    return not any((folder / each).exists() for folder in folders for each in _names(name))


def delete_files(clip: str, folder: Path) -> None:
    """Delete a clip from a folder. Raises ClipFileError."""
    for name in _names(clip):
        path = folder / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ClipFileError(
                f"{path} cannot be deleted ({error.strerror}); close what has it open and try again."
            ) from error


def name_in(folder: Path, path: Path) -> str:
    """A clip's name in the gallery: its path from the folder of clips, with "/"."""
    return path.relative_to(folder).as_posix()


def _names(clip: str) -> tuple[str, ...]:
    path = Path(clip)
    return clip, *(beside(path).as_posix() for beside in (poster_path, receipt_path, latents_path))
