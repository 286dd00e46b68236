"""What int8 products change in each layer of a model, as the engine measured it, and which layers go without them."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from pydantic import Field

from wan_pipeline.planning.memory_plan import LAYERS
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

BOUND = 0.04
"""Layers whose output errs by more in some block multiply in 16 bits. Rows without outliers cost 1 %.

At 2 % large layers without real outliers would be among them, which costs more time than it gains (docs/gpu.md).
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    fingerprint: str
    """Of the model's weights."""
    versions: str
    """Of the packages that quantize and multiply."""
    layers: dict[str, Annotated[float, Field(ge=0)]]
    """Relative error of each layer's output in its worst block."""


def save_errors(cache: Path, model_id: str, fingerprint: str, errors: dict[str, float]) -> None:
    """Store the errors of a model with this fingerprint in the cache folder. Raises StorageError."""
    stored = _Stored(fingerprint, _versions(), {name: round(error, 5) for name, error in errors.items()})
    with whole_file(_file(cache, model_id)) as part:
        part.write_text(json.dumps(asdict(stored)), encoding="utf-8")


def load_errors(cache: Path, model_id: str, fingerprint: str | None = None) -> dict[str, float] | None:
    """The stored errors by layer; None if there are none, or not of weights with this fingerprint and these versions.

    An estimate leaves the fingerprint out: it would read the model's files to know it.
    """
    path = _file(cache, model_id)
    try:
        stored = parse(_Stored, read_json_file(path))
    except FileNotFoundError:
        return None
    except (OSError, OutsideDataError) as error:
        logger.warning("%s is ignored, because it cannot be read: %s", path, error)
        return None
    is_current = fingerprint is None or (stored.fingerprint, stored.versions) == (fingerprint, _versions())
    return stored.layers if is_current else None


def layers_beyond(errors: dict[str, float], bound: float = BOUND) -> tuple[str, ...]:
    """The layers that err by more than the bound, as a plan names them."""
    return tuple(sorted(name for name in LAYERS if errors.get(name, 0.0) > bound))


def _versions() -> str:
    return ", ".join(f"{package} {version(package)}" for package in ("torch", "optimum-quanto"))


def _file(cache: Path, model_id: str) -> Path:
    return cache / "int8_errors" / f"{model_id}.json"
