"""The LoRAs that a training wrote on its way."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import UserError
from wan_pipeline.lora.library import SUFFIX
from wan_pipeline.models.weights import DamagedFileError, read_header
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.trainer.files.naming import NameTakenError, checkpoint_name, is_file_name
from wan_pipeline.trainer.files.output import Output


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


@dataclass(frozen=True)
class _Receipt:
    """What a file says of its training."""

    steps: int
    loss: float | None = None
    validation_loss: float | None = None


def trainings(settings: Settings) -> list[str]:
    """Names of the trainings whose checkpoints are kept, sorted."""
    folder = settings.trainings
    names = sorted(path.name for path in folder.glob("*") if is_file_name(path.name))
    return [name for name in names if _on_the_way(Output(settings, name))]


def checkpoints(settings: Settings, name: str) -> list[Checkpoint]:
    """The LoRAs of a training in the order of their steps, the finished one last. Raises UserError if there are none.

    Files that cannot be read, or are of no training, are left out.
    """
    output = Output(settings, name)
    found = [*_on_the_way(output), *_read(name, output.result_files(), is_result=True)]
    if not found:
        known = ", ".join(trainings(settings))
        raise UserError(f"No checkpoints are kept of a training '{name}'; choose one of: {known or 'none yet'}.")
    return sorted(found, key=lambda one: (one.step, one.is_result))


def use(settings: Settings, name: str, step: int) -> tuple[Path, ...]:
    """Copy the checkpoint after a step into the LoRA folder, as `NAME-STEP`. Raises UserError, StorageError."""
    kept = [one for one in checkpoints(settings, name) if not one.is_result]
    wanted = next((one for one in kept if one.step == step), None)
    if wanted is None:
        steps = ", ".join(str(one.step) for one in kept)
        raise UserError(f"No checkpoint of '{name}' is kept after step {step}; choose one of: {steps or 'none'}.")
    targets = tuple(settings.loras / path.name for path in wanted.paths)
    taken = {path.name.casefold() for path in settings.loras.glob(f"*{SUFFIX}")}
    if target := next((path for path in targets if path.name.casefold() in taken), None):
        raise NameTakenError(f"There is a LoRA '{target.stem}' in {settings.loras} already; it may be this one.")
    with ExitStack() as stack:  # all are copied before the first gets its name
        for path, target in zip(wanted.paths, targets, strict=True):
            shutil.copyfile(path, stack.enter_context(whole_file(target)))
    return targets


def _on_the_way(output: Output) -> list[Checkpoint]:
    ending = re.compile(rf"{re.escape(output.name)}-(\d+)(_high_noise|_low_noise)?{re.escape(SUFFIX)}")
    files: dict[int, list[Path]] = {}
    for path in sorted(output.folder.glob(f"*{SUFFIX}")):
        if found := ending.fullmatch(path.name):
            files.setdefault(int(found[1]), []).append(path)
    return [
        one
        for step, paths in files.items()
        for one in _read(checkpoint_name(output.name, step), paths, is_result=False)
    ]


def _read(name: str, paths: Sequence[Path], *, is_result: bool) -> Iterator[Checkpoint]:
    """The checkpoint in these files, or nothing."""
    if not paths:
        return
    try:
        receipt = parse(_Receipt, parse_json(read_header(paths[0]).metadata["receipt"]))
    except (DamagedFileError, OutsideDataError, KeyError, OSError):
        return
    yield Checkpoint(name, receipt.steps, tuple(paths), receipt.loss, receipt.validation_loss, is_result)
