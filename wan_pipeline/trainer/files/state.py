"""The state of a training after a step: one safetensors file, whole or not there, from which it goes on to the same
bits. No pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wan_pipeline.errors import UserError
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.trainer.factors import tensors_sha256

FACTS, IDENTITY, SHA256 = "facts", "identity", "sha256"
"""Keys of the file's metadata."""
RECIPE = "recipe"
ADDED_SINCE = {"optimizer": "adamw"}
"""Entries that the recipes of the first files lack, with what was done then."""
MAX_FACTS = 64 * 2**20
"""Bytes of JSON. The order of 20,000 examples has 200 kB."""


class ResumeError(UserError):
    """A training that cannot be resumed."""


def no_state() -> ResumeError:
    """The error for a training that has no state yet."""
    return ResumeError("There is no unfinished training of this name; start it without --resume.")


@dataclass(frozen=True)
class Facts:
    """What of a state is no tensor."""

    step: int
    """Steps done."""
    optimizer_steps: list[int]
    """Of each expert."""
    rest: list[list[int]]
    """The batches that are left of this pass over the examples."""
    losses: list[float]
    """Of every step."""
    validation: list[tuple[int, float]]
    """Validation losses, each with its step."""
    warnings: list[str] = field(default_factory=list)
    """What has been told so far, such as of a smaller memory plan."""


@dataclass(frozen=True)
class TrainingState:
    """A training after `facts.step` steps. The tensors are factors, moments and generators by name, on the CPU."""

    facts: Facts
    tensors: dict[str, Tensor]


def save_state(path: Path, state: TrainingState, identity: dict[str, Any]) -> None:
    """Write the state. `identity` holds everything that decides the weights. Raises StorageError."""
    facts = json.dumps(vars(state.facts), allow_nan=False)
    metadata = {FACTS: facts, IDENTITY: json.dumps(identity, sort_keys=True), SHA256: tensors_sha256(state.tensors)}
    with whole_file(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, part, metadata)
    crash_point(CrashPoint.CHECKPOINT_SAVED)


@dataclass(frozen=True)
class StateHeader:
    """A state without its tensors."""

    facts: Facts
    identity: dict[str, Any]
    sha256: str
    """Of the tensors."""


def read_header(path: Path) -> StateHeader:
    """What a state says of its training. Raises ResumeError if there is none, or it is damaged."""
    with _reading(path), safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        facts = parse(Facts, parse_json(metadata[FACTS], MAX_FACTS))
        identity = parse(dict[str, Any], parse_json(metadata[IDENTITY]))
        if isinstance(recipe := identity.get(RECIPE), dict):
            identity[RECIPE] = {**ADDED_SINCE, **recipe}
        return StateHeader(facts, identity, metadata[SHA256])


def load_state(path: Path, identity: dict[str, Any]) -> TrainingState:
    """Read the state of a training with this identity.

    Raises ResumeError if there is none, it is damaged, or something that decides the weights has changed since.
    """
    header = read_header(path)
    if changed := [name for name, value in identity.items() if header.identity.get(name) != value]:
        raise ResumeError(
            f"The training cannot be resumed, because its {changed[0]} has changed since; "
            "put it back as it was, or start again under another name."
        )
    with _reading(path), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
    if header.sha256 != tensors_sha256(tensors):
        raise ResumeError(f"The state {path} is damaged; remove it, and start without --resume.")
    return TrainingState(header.facts, tensors)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Context manager: what goes wrong while a state is read is a ResumeError."""
    try:
        yield
    except FileNotFoundError:
        raise no_state() from None
    except (SafetensorError, OutsideDataError, KeyError, OSError) as error:
        raise ResumeError(f"The state {path} is damaged ({error}); remove it, and start without --resume.") from error
