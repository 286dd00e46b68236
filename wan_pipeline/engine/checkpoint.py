"""Where a clip's denoising stands, kept on the disk now and then. A run that goes on from there gives the same bits.

One safetensors file: the latents and the solver's tensors, and in its metadata the solver's numbers as JSON, the name
of the run it belongs to, and a hash of all that.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.files import whole_file

CONFIGURATION = "_internal_dict"
"""The attribute of a solver that never changes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumeState:
    """All that denoising needs to go on after `step` steps."""

    step: int
    latents: torch.Tensor
    solver: dict[str, Any]
    """The attributes of the diffusers scheduler."""
    seconds: float
    """What these steps took."""


class Checkpoint:
    """The file of one clip, which is denoised on `device`."""

    def __init__(self, path: Path, identity: str, interval: float, device: torch.device) -> None:
        """Look for what an earlier run has left.

        `identity` names all that decides the latents; what was left under another one is not used. `interval` is how
        many seconds of denoising may be lost; a clip that takes less is never written down.
        """
        self._path = path
        self._identity = identity
        self._interval = interval
        self._device = device
        self.warnings: list[str] = []
        """What did not work, one sentence each. The clip is whole all the same."""
        self.standing = self._find()
        """Where an earlier run stood; None if it has left nothing of use."""
        self._is_kept = self.standing is not None
        self._kept_at = time.monotonic()

    def offer(self, standing: ResumeState, is_last: bool) -> None:
        """Keep this if the last one kept is old enough; and the end, if any was kept: decoding may fail too."""
        is_due = time.monotonic() - self._kept_at >= self._interval
        if not is_due and not (is_last and self._is_kept):
            return
        try:
            self._write(standing)
        except StorageError as error:
            self._warn(f"A checkpoint could not be kept: {error}")
        self._kept_at = time.monotonic()

    def _write(self, standing: ResumeState) -> None:
        tensors = {"latents": _copy(standing.latents)}
        solver = {name: _pack(value, f"solver.{name}", tensors) for name, value in standing.solver.items()}
        facts = json.dumps({"step": standing.step, "seconds": standing.seconds, "solver": solver})
        metadata = {"identity": self._identity, "facts": facts, "sha256": _digest(facts, tensors)}
        with whole_file(self._path) as part:
            part.write_bytes(save(tensors, metadata))
        self._is_kept = True
        crash_point(CrashPoint.CHECKPOINT_SAVED)

    def _find(self) -> ResumeState | None:
        try:
            return self._read()
        except FileNotFoundError:
            return None
        except (_UnusableError, OSError) as error:
            reason = str(error)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            reason = f"the file is damaged ({error})"
        self._warn(f"The clip was made from the start, for its checkpoint could not be used: {reason}.")
        return None

    def _read(self) -> ResumeState:
        with safe_open(self._path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
        if metadata.get("identity") != self._identity:
            raise _UnusableError("the settings, files or versions are others now")
        if metadata["sha256"] != _digest(metadata["facts"], tensors):
            raise _UnusableError("the file is damaged")
        facts = json.loads(metadata["facts"])
        solver = {name: _unpack(value, tensors, self._device) for name, value in facts["solver"].items()}
        return ResumeState(facts["step"], tensors["latents"].to(self._device), solver, facts["seconds"])

    def _warn(self, sentence: str) -> None:
        logger.warning(sentence)
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def solver_state(scheduler: Any) -> dict[str, Any]:
    """All that the solver remembers, by attribute; multistep ones keep what the model said in the last steps."""
    solver = scheduler.scheduler if isinstance(scheduler, Resumed) else scheduler
    return {name: value for name, value in vars(solver).items() if name != CONFIGURATION}


class Resumed:
    """A solver that a pipeline finds on its way: it is given the rest of the timesteps, and the solver goes on."""

    def __init__(self, scheduler: Any, standing: ResumeState) -> None:
        self.scheduler = scheduler
        self._standing = standing

    def set_timesteps(self, steps: int, device: torch.device) -> None:
        self.scheduler.set_timesteps(steps, device=device)
        vars(self.scheduler).update(self._standing.solver)

    @property
    def timesteps(self) -> torch.Tensor:
        timesteps: torch.Tensor = self.scheduler.timesteps
        return timesteps[self._standing.step :]

    def set_begin_index(self, index: int) -> None:
        """It has begun already."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scheduler, name)


class _UnusableError(Exception):
    """Why a checkpoint does not fit, as the end of a sentence."""


def _pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` as JSON, its tensors put into `tensors`."""
    match value:
        case torch.Tensor():
            tensors[name] = _copy(value)
            return {"tensor": name, "on_cpu": value.device.type == "cpu"}
        case list():
            return [_pack(item, f"{name}.{number}", tensors) for number, item in enumerate(value)]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot keep")


def _unpack(packed: Any, tensors: dict[str, torch.Tensor], device: torch.device) -> Any:
    match packed:
        case dict():
            tensor = tensors[packed["tensor"]]
            return tensor if packed["on_cpu"] else tensor.to(device)
        case list():
            return [_unpack(item, tensors, device) for item in packed]
        case _:
            return packed


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _digest(facts: str, tensors: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(facts.encode() + save(tensors)).hexdigest()
