"""Which models are on this machine, and where. No network, no torch."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wan_pipeline.errors import ModelError
from wan_pipeline.models import imported, registry
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.models.weights import DamagedFileError, Header, TensorInfo, read_header
from wan_pipeline.settings import Settings

INDEX = "model_index.json"
CONFIG_SUFFIXES = frozenset({".json", ".model", ".txt"})
SAMPLED_BYTES = 64 * 1024

logger = logging.getLogger(__name__)


class BrokenFilesError(ModelError):
    """A file of the model is missing or not whole."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; put the model's files there again.")
        self.what = what


@dataclass(frozen=True)
class InstalledModel:
    """A model whose folder is here. `fingerprint` names what was derived from its files, such as cached embeddings."""

    spec: ModelSpec
    folder: Path
    fingerprint: str

    def config(self, component: str, name: str = "config.json") -> dict[str, Any]:
        """A component's configuration. Raises ModelError."""
        return read_json(self.folder / component / name)

    def tensors(self, component: str) -> dict[str, TensorInfo]:
        """What the component's weight files hold, by their headers. Raises ModelError."""
        files = _weight_files(self.folder / component)
        return {name: info for path in files for name, info in _header(path, self.spec.title).tensors.items()}

    def weight_files(self) -> dict[str, Path]:
        """Every component's weight files by what the folder calls them, such as `vae/model.safetensors`."""
        components = [name for name, entry in self.index().items() if isinstance(entry, list) and entry[0] is not None]
        paths = [path for name in sorted(components) for path in _weight_files(self.folder / name)]
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    def component_files(self, component: str) -> list[Path]:
        """The weight files of one component. Raises ModelError."""
        return list(_weight_files(self.folder / component))

    @property
    def has_two_experts(self) -> bool:
        """Whether one transformer does the noisy steps and another the last ones."""
        return isinstance(entry := self.index().get("transformer_2"), list) and entry[0] is not None

    @property
    def revision(self) -> str | None:
        """The commit of the Hugging Face repository that the folder is a snapshot of; None for a plain folder."""
        return self.folder.name if self.folder.parent.name == "snapshots" else None

    @property
    def bytes(self) -> int:
        """What its files take on the disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def index(self) -> dict[str, Any]:
        """`model_index.json`: the pipeline's class, settings and components. Raises ModelError."""
        return read_json(self.folder / INDEX)


class ModelLibrary:
    """Looks, in this order, at the bundled checkpoint, the models folder and the Hugging Face cache."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def specs(self) -> dict[str, ModelSpec]:
        """Every known model by id: those of the registry, then the imported ones."""
        found = imported.read_all(self._settings.imported)
        return registry.MODELS | {model_id: entry.spec for model_id, entry in found.items()}

    def spec(self, model_id: str) -> ModelSpec:
        """The facts of a model. Raises ModelError listing the known ids."""
        specs = self.specs()
        if model_id not in specs:
            raise ModelError(f"There is no model '{model_id[:80]}'; choose one of: {', '.join(specs)}.")
        return specs[model_id]

    def installed(self) -> list[InstalledModel]:
        """Every model whose files are here and whole by their headers, and which this version can run."""
        found = []
        for spec in self.specs().values():
            try:
                found.append(self.find(spec.id))
            except ModelError as error:
                logger.debug("%s", error)
        return found

    def find(self, model_id: str) -> InstalledModel:
        """The model, its files whole by their headers. Raises ModelError saying what is missing and the way out."""
        spec = self.spec(model_id)
        if spec.missing:
            raise ModelError(f"{spec.title} cannot be used yet. {spec.missing}")
        folder = self.folder(spec)
        if folder is None:
            raise ModelError(self._absent(spec))
        try:
            check_files(folder, spec.title)
        except BrokenFilesError as error:
            if spec.repo and folder.parent.name == "snapshots":
                raise ModelError(f"{error.what}; run: python -m wan_pipeline models download {spec.id}") from error
            raise
        return InstalledModel(spec, folder, fingerprint(folder))

    def folder(self, spec: ModelSpec) -> Path | None:
        """Where the model's files lie, whole or not; None if they are not here."""
        candidates = [self._settings.models / spec.id]
        if spec.availability is Availability.BUNDLED:
            candidates.insert(0, self._settings.demo_checkpoint)
        stored = None if spec.id in registry.MODELS else imported.read_all(self._settings.imported).get(spec.id)
        if stored and stored.folder:
            candidates.append(stored.folder)
        for folder in candidates:
            if (folder / INDEX).is_file():
                return folder
        return _cached_snapshot(spec.repo) if spec.repo else None

    def _absent(self, spec: ModelSpec) -> str:
        match spec.availability:
            case Availability.ANNOUNCED:
                return f"{spec.title} is announced, but its weights are not public yet; choose another model."
            case Availability.BUNDLED:
                return f"{spec.title} is not at {self._settings.demo_checkpoint}; check the repository out again."
            case Availability.RELEASED if spec.repo is None:
                return f"{spec.title} is not at the folder it was imported from; bring it back, or import it again."
            case Availability.RELEASED:
                return (
                    f"{spec.title} is not installed; run: python -m wan_pipeline models download {spec.id}, "
                    f"or put the files of {spec.repo} into {self._settings.models / spec.id}"
                )


def fingerprint(folder: Path) -> str:
    """SHA-256 over configurations, and over names, sizes and both ends of the weight files: cheap for any size."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(_content(path))
    return digest.hexdigest()


def check_files(folder: Path, title: str) -> None:
    """Raise ModelError for the first component that is missing, cut short or not what its header says."""
    for component, entry in read_json(folder / INDEX).items():
        if not component.startswith("_") and isinstance(entry, list) and entry[0] is not None:
            if not (folder / component).is_dir():
                raise _broken(title, folder / component, "it is missing")
            _check_component(folder / component, title)


def _check_component(folder: Path, title: str) -> None:
    if not (folder / "config.json").is_file():
        return  # a tokenizer, scheduler or image processor holds no weights
    paths = list(_weight_files(folder))
    for path in paths:
        _header(path, title)
    if not paths:
        raise _broken(title, folder, "it holds no .safetensors weights")


def _header(path: Path, title: str) -> Header:
    try:
        return read_header(path)
    except FileNotFoundError:
        raise _broken(title, path, "it is missing") from None
    except (DamagedFileError, OSError) as error:
        raise _broken(title, path, str(error)) from error


def _weight_files(folder: Path) -> Iterator[Path]:
    """The files a component's weights are in, by its index of shards if it has one."""
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if not indices:
        yield from sorted(folder.glob("*.safetensors"))
    for index in indices:
        yield from (folder / name for name in sorted(set(read_json(index).get("weight_map", {}).values())))


def _broken(title: str, path: Path, reason: str) -> BrokenFilesError:
    return BrokenFilesError(f"{title} cannot be used: {path}: {reason}")


def _content(path: Path) -> bytes:
    if path.suffix in CONFIG_SUFFIXES and path.stat().st_size <= 2 * SAMPLED_BYTES:
        return path.read_bytes()
    with path.open("rb") as file:
        head = file.read(SAMPLED_BYTES)
        file.seek(max(path.stat().st_size - SAMPLED_BYTES, 0))
        return head + file.read(SAMPLED_BYTES)


def read_json(path: Path) -> dict[str, Any]:
    """A configuration. Raises ModelError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); put the model's files there again.") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not a table of settings; put the model's files there again.")
    return data


def _cached_snapshot(repo: str) -> Path | None:
    """Snapshot of a repository in the Hugging Face cache, or None. Asks no network."""
    from wan_pipeline.models.cache import CachedRepository  # here, because it takes a while to import

    return CachedRepository(repo).snapshot()
