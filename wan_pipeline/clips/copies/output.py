"""A copy of a finished clip in a folder of the person's choice."""

from __future__ import annotations

import filecmp
import os
import shutil
from itertools import chain, count
from pathlib import Path

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import storage_error, whole_file


def copy_clip(clip: Path, name: str, folder: str) -> tuple[str, ...]:
    """Copy an MP4 to the folder, under a name that may lie in folders below it. Returns what a person should know.

    The folder is a whole path, taken as it is written: `~` in it is no home. A file that is there is never replaced,
    as it may have been edited: the copy gets a number then.
    The clip itself is safe in the workspace, so a disk that is away is no reason to fail it.
    """
    if not folder:
        return ()
    failed = "The clip could not be copied to its project's output folder"
    if not Path(folder).is_absolute():
        return (f"{failed}: '{folder}' is not a whole path; write it in full in the project's settings.",)
    wanted = Path(folder) / name
    try:
        target = _free_path(wanted, clip)
        if target is None:
            return ()
        with whole_file(target) as part:
            shutil.copyfile(clip, part)
    except StorageError as error:
        return (f"{failed}. {error}",)
    renamed = f"The clip's copy in {wanted.parent} is {target.name}: another file was {wanted.name} already."
    return () if target == wanted else (renamed,)


def _free_path(wanted: Path, clip: Path) -> Path | None:
    """The path, with a number if a file is there; None if the clip is there already. Raises StorageError."""
    numbered = (wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}") for number in count(2))
    for path in chain([wanted], numbered):
        if not os.path.lexists(path):
            return path
        try:
            if path.is_file() and filecmp.cmp(path, clip, shallow=False):
                return None
        except OSError as error:
            raise storage_error(path.parent, error) from error
    raise AssertionError("numbers do not end")
