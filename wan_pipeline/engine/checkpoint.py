"""Checkpoints of a clip's denoising. A run that resumes from one gives the same bits as a run in one piece.

A checkpoint is one safetensors file with the latents and the solver's tensors. Its metadata holds the solver's other
values as JSON, the identity of the run, and a hash of all of it.
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

from wan_pipeline.errors import GenerationError, StorageError
from wan_pipeline.planning.memory_plan import MemoryPlan, read_plan
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.files import whole_file

CONFIGURATION = "_internal_dict"
"""The scheduler attribute that never changes: its configuration."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumeState:
    """What denoising needs to continue after `step` steps."""

    step: int
    latents: torch.Tensor
    solver: dict[str, Any]
    """The attributes of the diffusers scheduler."""
    seconds: float
    """The time that these steps took."""
    clean: torch.Tensor | None = None
    """The estimate of the clean latents after the last step, of a clip that may end early."""
    clean_is_below: bool = False
    """Whether the last expert made it."""
    ended_at: int = 0
    """Steps after which a clip ended early; `step` is then that of the last one. 0 for others."""


class Checkpoint:
    """The checkpoint file of one clip."""

    def __init__(self, path: Path, identity: str, plan: MemoryPlan, interval: float, device: torch.device) -> None:
        """Read the file of an earlier run, if there is one, to `device`.

        `identity` covers everything that decides the latents: a file with another one is not used; the `plan` is for
        `plan_of`. `interval` is the seconds of denoising that may be lost; a clip that takes less never writes a file.
        """
        self._path = path
        self._identity = identity
        self._plan = plan
        self._interval = interval
        self._device = device
        self.warnings: list[str] = []
        """What failed, one sentence each. The clip is made all the same."""
        self.resume_state = self._find()
        """Where the earlier run stopped; None if there is no usable file."""
        self._is_saved = self.resume_state is not None
        self._saved_at = time.monotonic()

    def save_if_due(self, state: ResumeState, is_last: bool, is_stopping: bool = False) -> None:
        """Write the state if the last one is older than the interval, or denoising stops here and may be resumed.

        The state after the last step is also written if there is a file already, since decoding may fail.
        """
        is_due = is_stopping or time.monotonic() - self._saved_at >= self._interval
        if not is_due and not (is_last and self._is_saved):
            return
        try:
            self._write(state)
        except StorageError as error:
            self._warn(f"A checkpoint could not be saved: {error}")
        self._saved_at = time.monotonic()

    def _write(self, state: ResumeState) -> None:
        tensors = {"latents": _copy(state.latents)}
        solver = {name: _pack(value, f"solver.{name}", tensors) for name, value in state.solver.items()}
        if state.clean is not None:
            tensors["clean"] = _copy(state.clean)
        ending = {"clean_is_below": state.clean_is_below, "ended_at": state.ended_at}
        facts = json.dumps({"step": state.step, "seconds": state.seconds, "solver": solver, **ending})
        metadata = {"identity": self._identity, "plan": str(self._plan)}
        metadata |= {"facts": facts, "sha256": _digest(facts, tensors)}
        with whole_file(self._path) as part:
            part.write_bytes(save(tensors, metadata))
        self._is_saved = True
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
        self._warn(f"The clip was made from the start, because its checkpoint could not be used: {reason}.")
        return None

    def _read(self) -> ResumeState:
        with safe_open(self._path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
        if metadata.get("identity") != self._identity:
            raise _UnusableError("the settings, files or versions have changed")
        if metadata["sha256"] != _digest(metadata["facts"], tensors):
            raise _UnusableError("the file is damaged")
        facts = json.loads(metadata["facts"])
        solver = {name: _unpack(value, tensors, self._device) for name, value in facts["solver"].items()}
        latents = tensors["latents"].to(self._device)
        clean = tensors["clean"].to(self._device) if "clean" in tensors else None
        ending = facts.get("clean_is_below", False), facts.get("ended_at", 0)
        return ResumeState(facts["step"], latents, solver, facts["seconds"], clean, *ending)

    def _warn(self, sentence: str) -> None:
        logger.warning(sentence)
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def plan_of(path: Path | None) -> MemoryPlan | None:
    """The plan that a checkpoint's clip was begun by; None without a file that says so."""
    if path is None:
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return read_plan((file.metadata() or {}).get("plan", ""))
    except (OSError, SafetensorError, GenerationError):
        return None


def solver_state(scheduler: Any) -> dict[str, Any]:
    """The solver's state by attribute; multistep solvers hold the model's outputs of the last steps."""
    solver = scheduler.scheduler if isinstance(scheduler, ResumedScheduler) else scheduler
    return {name: value for name, value in vars(solver).items() if name != CONFIGURATION}


class ResumedScheduler:
    """A scheduler that continues from a resume state: the pipeline gets the remaining timesteps only."""

    def __init__(self, scheduler: Any, state: ResumeState) -> None:
        self.scheduler = scheduler
        self._state = state

    def set_timesteps(self, steps: int, device: torch.device) -> None:
        self.scheduler.set_timesteps(steps, device=device)
        vars(self.scheduler).update(self._state.solver)

    @property
    def timesteps(self) -> torch.Tensor:
        timesteps: torch.Tensor = self.scheduler.timesteps
        return timesteps[self._state.step :]

    def set_begin_index(self, index: int) -> None:
        """Do nothing: the solver's own index is in the resume state."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scheduler, name)


class _UnusableError(Exception):
    """A checkpoint of another run. The text ends a sentence."""


def _pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` as JSON. Its tensors are added to `tensors`."""
    match value:
        case torch.Tensor():
            tensors[name] = _copy(value)
            return {"tensor": name, "on_cpu": value.device.type == "cpu"}
        case list():
            return [_pack(item, f"{name}.{number}", tensors) for number, item in enumerate(value)]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold")


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
