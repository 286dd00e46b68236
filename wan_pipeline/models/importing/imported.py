"""Imported models: the facts about each, in a JSON file of the workspace."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wan_pipeline.errors import ModelError
from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.names import check_id, check_repository
from wan_pipeline.models.spec import Availability, ModelSpec, Size
from wan_pipeline.storage.files import storage_error, whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

MAX_NUMBER = 10**13
"""Larger than any number in the facts about a model."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportedModel:
    spec: ModelSpec
    folder: Path | None
    """Where its files are; None for a repository of the Hub, whose files are in the Hugging Face cache."""


@dataclass(frozen=True)
class _Location:
    """What a file holds beside the fields of ModelSpec."""

    folder: str | None


class ImportedModels:
    """The imported models of one workspace, a file each, named by the id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reported: set[tuple[Path, int]] = set()

    def all(self) -> dict[str, ImportedModel]:
        """Imported models by id. A file that cannot be used is left out, with one warning in the log."""
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                found[path.stem] = _read(path)
            except (OSError, OutsideDataError, ModelError) as error:
                self._report(path, error)
        return found

    def add(self, model: ImportedModel) -> None:
        """Raises StorageError."""
        facts = {
            **asdict(model.spec),
            "modes": sorted(model.spec.modes),
            "folder": None if model.folder is None else str(model.folder),
        }
        with whole_file(self._path(model.spec.id)) as part:
            part.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")

    def remove(self, model_id: str) -> None:
        """Raises StorageError."""
        try:
            self._path(model_id).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self._folder, error) from error

    def _path(self, model_id: str) -> Path:
        return self._folder / f"{model_id}.json"

    def _report(self, path: Path, error: Exception) -> None:
        """Once for each version of a file: it is read again and again."""
        try:
            version = path, path.stat().st_mtime_ns
        except OSError:
            return
        if version not in self._reported:
            self._reported.add(version)
            logger.warning("%s is left out (%s); import the model again.", path, error)


def _read(path: Path) -> ImportedModel:
    """Raises OSError, OutsideDataError, ModelError."""
    facts = read_json_file(path)
    spec, location = parse(ModelSpec, facts), parse(_Location, facts)
    _check(spec, path.stem)
    return ImportedModel(spec, None if location.folder is None else Path(location.folder))


def _check(spec: ModelSpec, name: str) -> None:
    """Refuse facts that no import writes; the rest of the program relies on them."""
    check_id(spec.id)
    if spec.repo is not None:
        check_repository(spec.repo)
    if spec.id != name:
        raise OutsideDataError(f"it is the file of '{spec.id}'")
    if spec.availability is not Availability.RELEASED or not spec.modes or not spec.sizes:
        raise OutsideDataError("it has no modes, no sizes or another availability than 'released'")
    _check_numbers(spec)
    _check_numbers(spec.memory)
    for size in spec.sizes:
        _check_numbers(size)


def _check_numbers(facts: ModelSpec | MemoryFacts | Size) -> None:
    """Every number is above zero, or zero where that is its default."""
    for field in fields(facts):
        value = getattr(facts, field.name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not (0 < value < MAX_NUMBER or (value == 0 and field.default == 0)):
            raise OutsideDataError(f"'{field.name}' is {str(value)[:20]}, which is out of range")
