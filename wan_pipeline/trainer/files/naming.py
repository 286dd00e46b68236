"""Names of LoRAs that are trained, and where a training has its files. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.lora.library import SUFFIX
from wan_pipeline.settings import Settings

NAME = re.compile(r"[\w][\w .+-]{0,79}")
"""Safe as a file name everywhere, short of the names that Windows keeps for itself."""
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


class NameTakenError(UserError):
    """A name that another LoRA or an unfinished training has."""


def is_file_name(name: str) -> bool:
    """Whether every system takes it as the name of a file or folder."""
    return bool(NAME.fullmatch(name)) and not RESERVED.fullmatch(name) and name == name.strip(" .")


def check_name(name: str) -> None:
    """Raise UserError for a name that cannot be a LoRA's."""
    if not is_file_name(name):
        raise UserError(
            f"'{name[:80]}' cannot be the name of a LoRA; use up to 80 letters, digits, spaces and . _ + -."
        )


def check_lora_is_new(folder: Path, name: str, suffixes: Sequence[str]) -> None:
    """Raise NameTakenError if the LoRA folder has a file that a training of this name would write."""
    taken = {path.name.casefold() for path in folder.glob("*")}  # one file where a disk folds case
    for path in lora_paths(folder, name, suffixes):
        if path.name.casefold() in taken:
            raise NameTakenError(f"There is a LoRA '{path.stem}' in {folder} already; choose another name.")


def lora_paths(folder: Path, name: str, suffixes: Sequence[str]) -> list[Path]:
    """The files of a LoRA: one for each expert, whose `suffixes` are empty where there is only one."""
    return [folder / f"{name}{f'_{suffix}' if suffix else ''}{SUFFIX}" for suffix in suffixes]


def checkpoint_name(name: str, step: int) -> str:
    """Of the LoRA as it is after a step on the way."""
    return f"{name}-{step}"


def state_path(settings: Settings, name: str) -> Path:
    """Where an unfinished training has its state."""
    return settings.trainings / name / f"state{SUFFIX}"
