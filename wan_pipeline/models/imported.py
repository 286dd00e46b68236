"""Models that the registry does not hold: what was found out about each, in a file of the workspace."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wan_pipeline.errors import ModelError
from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.spec import Availability, LastImage, Mode, ModelSpec, Size
from wan_pipeline.storage.files import whole_file

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imported:
    spec: ModelSpec
    folder: Path | None
    """Where its files lie; None for a repository of the Hub, whose files are in the Hugging Face cache."""


def id_of(name: str) -> str:
    """A usable id made of a folder's or a repository's name."""
    return re.sub("[^a-z0-9.]+", "-", name.rpartition("/")[2].lower()).strip("-.")[:64] or "model"


def check_id(model_id: str) -> None:
    """Raises ModelError."""
    if not ID.fullmatch(model_id):
        raise ModelError(
            f"'{model_id[:80]}' cannot be a model's id; use up to 64 small letters, digits, dots and hyphens."
        )


def read_all(folder: Path) -> dict[str, Imported]:
    """By id. A file that cannot be read is left out, with a word in the log."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            imported = _read(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s is left out, for it cannot be read (%s); import the model again.", path, error)
        else:
            found[imported.spec.id] = imported
    return found


def write(folder: Path, imported: Imported) -> None:
    """Raises StorageError."""
    facts = {
        **asdict(imported.spec),
        "modes": sorted(imported.spec.modes),
        "folder": None if imported.folder is None else str(imported.folder),
    }
    with whole_file(folder / f"{imported.spec.id}.json") as part:
        part.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def remove(folder: Path, model_id: str) -> None:
    (folder / f"{model_id}.json").unlink(missing_ok=True)


def _read(facts: dict[str, Any]) -> Imported:
    folder = facts.pop("folder")
    known = {field.name for field in fields(ModelSpec)}
    memory = {"memory": MemoryFacts(**facts["memory"])} if "memory" in facts else {}
    spec = ModelSpec(
        **{
            **{name: value for name, value in facts.items() if name in known},
            "modes": frozenset(Mode(mode) for mode in facts["modes"]),
            "sizes": tuple(Size(**size) for size in facts["sizes"]),
            "availability": Availability(facts["availability"]),
            "last_image": LastImage(facts["last_image"]),
            **memory,
        }
    )
    return Imported(spec, None if folder is None else Path(folder))
