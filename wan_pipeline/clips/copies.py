"""A copy of a finished clip in a folder of the person's choice."""

from __future__ import annotations

import shutil
from pathlib import Path

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file


def copy_clip(clip: Path, name: str, folder: str) -> tuple[str, ...]:
    """Copy an MP4 to the folder, under a name that may lie in folders below it. Returns what went wrong, if anything.

    The clip itself is safe in the workspace, so a disk that is away is no reason to fail it.
    """
    if not folder:
        return ()
    target = Path(folder).expanduser() / name
    try:
        with whole_file(target) as part:
            shutil.copyfile(clip, part)
    except StorageError as error:
        return (f"The clip could not be copied to its project's output folder. {error}",)
    return ()
