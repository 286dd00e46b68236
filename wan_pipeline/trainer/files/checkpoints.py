"""The LoRAs that a training wrote on its way. No torch."""

from __future__ import annotations

import filecmp
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.lora.library import SUFFIX
from wan_pipeline.models.weights import DamagedFileError, read_header
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.trainer.files.naming import NameTakenError, check_name, checkpoint_name, is_file_name, lora_paths
from wan_pipeline.trainer.trainable import SUFFIXES


@dataclass(frozen=True)
class Checkpoint:
    """The LoRA of a training after some steps."""

    name: str
    """Of its file, without the expert's end."""
    step: int
    paths: tuple[Path, ...]
    """One file for each expert."""
    loss: float | None
    """Mean of the steps before it."""
    validation_loss: float | None
    is_result: bool
    """Whether it is the finished LoRA, in the LoRA folder."""
    base_model: str = ""
    """Id of the model that it was trained on; empty where the file does not say it."""
    seed: int = 0
    """Of the training."""


@dataclass(frozen=True)
class _Receipt:
    """What a file says of its training."""

    steps: int
    loss: float | None = None
    validation_loss: float | None = None
    seed: int = 0


def trainings(settings: Settings) -> list[str]:
    """Names of the trainings whose checkpoints are kept, sorted."""
    folder = settings.trainings
    names = sorted(path.name for path in folder.glob("*") if is_file_name(path.name))
    return [name for name in names if _on_the_way(settings, name)]


def checkpoints(settings: Settings, name: str) -> list[Checkpoint]:
    """The LoRAs of a training in the order of their steps, the finished one last. Raises UserError if there are none.

    Files that cannot be read, or are of no training, are left out.
    """
    check_name(name)
    results = [path for path in lora_paths(settings.loras, name, SUFFIXES) if path.is_file()]
    found = [*_on_the_way(settings, name), *_read(name, results, is_result=True)]
    if not found:
        known = ", ".join(trainings(settings))
        raise UserError(f"No checkpoints are kept of a training '{name}'; choose one of: {known or 'none yet'}.")
    return sorted(found, key=lambda one: (one.step, one.is_result))


def use(settings: Settings, name: str, step: int) -> tuple[Path, ...]:
    """Copy the checkpoint after a step into the LoRA folder, as `NAME-STEP`, unless it is there.

    Raises UserError, StorageError.
    """
    kept = [one for one in checkpoints(settings, name) if not one.is_result]
    wanted = next((one for one in kept if one.step == step), None)
    if wanted is None:
        steps = ", ".join(str(one.step) for one in kept)
        raise UserError(f"No checkpoint of '{name}' is kept after step {step}; choose one of: {steps or 'none'}.")
    put_into_library(settings, wanted)
    return tuple(settings.loras / path.name for path in wanted.paths)


@contextmanager
def in_library(settings: Settings, found: Sequence[Checkpoint]) -> Iterator[dict[int, str]]:
    """Context manager: the checkpoints' names in the LoRA folder, by step. Those that are not there are copied, and
    removed again if the block raises.

    Raises NameTakenError if another LoRA has a name, StorageError.
    """
    with ExitStack() as undo:
        for one in found:
            for copy in put_into_library(settings, one):
                undo.callback(copy.unlink, missing_ok=True)
        yield {one.step: one.name for one in found}
        undo.pop_all()


def put_into_library(settings: Settings, one: Checkpoint) -> list[Path]:
    """Copy the files of a checkpoint that the LoRA folder lacks, and return the copies.

    Raises NameTakenError if another LoRA has the name, StorageError.
    """
    there = {path.name.casefold(): path for path in settings.loras.glob(f"*{SUFFIX}")}
    for path in one.paths:
        other = there.get(path.name.casefold())
        if other and not (other.name == path.name and filecmp.cmp(path, other, shallow=False)):
            raise NameTakenError(f"There is another LoRA '{other.stem}' in {settings.loras}; rename that one.")
    missing = [path for path in one.paths if path.name.casefold() not in there]
    with ExitStack() as stack:  # all are copied before the first gets its name
        for path in missing:
            shutil.copyfile(path, stack.enter_context(whole_file(settings.loras / path.name)))
    return [settings.loras / path.name for path in missing]


def _on_the_way(settings: Settings, name: str) -> list[Checkpoint]:
    ending = re.compile(rf"{re.escape(name)}-(\d+)(_high_noise|_low_noise)?{re.escape(SUFFIX)}")
    files: dict[int, list[Path]] = {}
    for path in sorted((settings.trainings / name).glob(f"*{SUFFIX}")):
        if found := ending.fullmatch(path.name):
            files.setdefault(int(found[1]), []).append(path)
    return [one for step, paths in files.items() for one in _read(checkpoint_name(name, step), paths, is_result=False)]


def _read(name: str, paths: Sequence[Path], *, is_result: bool) -> Iterator[Checkpoint]:
    """The checkpoint in these files, or nothing."""
    if not paths:
        return
    try:
        metadata = read_header(paths[0]).metadata
        receipt = parse(_Receipt, parse_json(metadata["receipt"]))
    except (DamagedFileError, OutsideDataError, KeyError, OSError):
        return
    losses = receipt.loss, receipt.validation_loss
    yield Checkpoint(
        name, receipt.steps, tuple(paths), *losses, is_result, metadata.get("base_model", ""), receipt.seed
    )
