"""The files of a training: its LoRA in the LoRA folder, and in the workspace its state and the LoRAs on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import check_writable, whole_file
from wan_pipeline.trainer.factors import tensors_sha256
from wan_pipeline.trainer.files.naming import (
    NameTakenError,
    check_lora_is_new,
    check_name,
    checkpoint_name,
    lora_paths,
    state_path,
)
from wan_pipeline.trainer.files.state import no_state


@dataclass(frozen=True)
class WrittenLora:
    """The LoRA of a training as it was written, one file for each expert."""

    name: str
    paths: tuple[Path, ...]
    sha256: str
    """Of the tensors of all of them."""


class Output:
    """Where one training writes."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Raises UserError for a name that cannot be a file's."""
        check_name(name)
        self.name = name
        self._loras = settings.loras
        self.folder = settings.trainings / name
        self.state = state_path(settings, name)

    def check(self, suffixes: Sequence[str], *, resume: bool) -> None:
        """Raise NameTakenError if the name is in use, StorageError if nothing can be written.

        To `resume`, a state must be there: else it raises ResumeError. Files of the LoRA are then what a training left
        that was killed while it wrote them, and are written again.
        """
        if resume:
            if not self.state.exists():
                raise no_state()
        else:
            self._check_free(suffixes)
        check_writable(self._loras)
        check_writable(self.folder)

    def _check_free(self, suffixes: Sequence[str]) -> None:
        check_lora_is_new(self._loras, self.name, suffixes)
        if self.state.exists():
            raise NameTakenError(
                f"There is an unfinished training '{self.name}'; add --resume to go on with it, choose another name, "
                f"or remove {self.folder}."
            )

    def write_checkpoint(self, step: int, tensors: dict[str, dict[str, Tensor]], metadata: dict[str, Any]) -> None:
        """Write the LoRA after a step on the way. Raises StorageError."""
        self._write(self.folder, checkpoint_name(self.name, step), tensors, metadata)

    def write_result(self, tensors: dict[str, dict[str, Tensor]], metadata: dict[str, Any]) -> WrittenLora:
        """Write the finished LoRA into the LoRA folder. Raises StorageError."""
        return self._write(self._loras, self.name, tensors, metadata)

    def remove_state(self) -> None:
        self.state.unlink(missing_ok=True)

    def _write(
        self, folder: Path, name: str, tensors: dict[str, dict[str, Tensor]], metadata: dict[str, Any]
    ) -> WrittenLora:
        text = {"format": "pt"} | {
            key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for key, value in metadata.items()
        }
        paths = lora_paths(folder, name, list(tensors))
        with ExitStack() as stack:  # all are written before the first gets its name
            parts = [stack.enter_context(whole_file(path)) for path in paths]
            for part, of_expert in zip(parts, tensors.values(), strict=True):
                part.write_bytes(save(of_expert, text))
        together = {f"{suffix}.{key}": value for suffix, part in tensors.items() for key, value in part.items()}
        return WrittenLora(name, tuple(paths), tensors_sha256(together if len(tensors) > 1 else tensors[""]))
