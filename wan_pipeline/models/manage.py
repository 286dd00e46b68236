"""What can be done with models: list, fetch, import, verify, remove. The page and the command line share it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.errors import ModelError
from wan_pipeline.models import imported, registry
from wan_pipeline.models.cache import INDEX, CachedRepository
from wan_pipeline.models.imported import Imported
from wan_pipeline.models.inspect import inspect
from wan_pipeline.models.library import InstalledModel, ModelLibrary, check_files, read_json
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import storage_error

if TYPE_CHECKING:
    from wan_pipeline.models.download import DownloadPlan, TransferObserver


class Status(StrEnum):
    INSTALLED = "installed"
    """Whole, and ready."""
    DAMAGED = "damaged"
    """Its files are here and do not hold together."""
    PARTIAL = "partial"
    """A download has begun, and can go on."""
    AVAILABLE = "available"
    """To be downloaded."""
    ANNOUNCED = "announced"
    UNSUPPORTED = "unsupported"
    """There are weights, and this version cannot run them."""
    MISSING = "missing"
    """Its folder is gone."""


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    spec: ModelSpec
    status: Status
    folder: Path | None
    revision: str | None
    gigabytes: float
    """On the disk if it is here, else to download, about."""
    problem: str = ""
    """What is wrong or missing, one sentence."""

    def to_dict(self) -> dict[str, Any]:
        spec = self.spec
        return {
            "id": spec.id,
            "title": spec.title,
            "repo": spec.repo,
            "status": self.status,
            "modes": list(spec.abilities),
            "revision": self.revision,
            "gigabytes": round(self.gigabytes, 3),
            "licence": spec.licence,
            "folder": None if self.folder is None else str(self.folder),
            "problem": self.problem or None,
            "sizes": [f"{size.width}x{size.height}" for size in spec.sizes],
            "frames": spec.num_frames,
            "fps": spec.fps,
            "steps": spec.num_inference_steps,
            "guidance": spec.guidance_scale,
            "guidance_2": spec.guidance_scale_2,
            "flow_shift": spec.flow_shift,
        }


class Models:
    """The models of one studio's folders and of the Hugging Face cache."""

    def __init__(self, settings: Settings, endpoint: str | None = None) -> None:
        """`endpoint` is the Hub's address (HF_ENDPOINT)."""
        self._settings = settings
        self._endpoint = endpoint
        self.library = ModelLibrary(settings)

    def entries(self) -> list[Entry]:
        """All that are known, in the registry's order. Asks no network."""
        return [self.entry(model_id) for model_id in self.library.specs()]

    def entry(self, model_id: str) -> Entry:
        """Raises ModelError for an unknown id."""
        spec = self.library.spec(model_id)
        folder = self.library.folder(spec)
        if folder is None:
            return self._absent(spec)
        here = InstalledModel(spec, folder, "")
        size = here.bytes / 1e9
        if spec.missing:
            return Entry(spec, Status.UNSUPPORTED, folder, here.revision, size, spec.missing)
        try:
            check_files(folder, spec.title)
        except ModelError as error:
            status = Status.PARTIAL if self._is_unfinished(spec, here.revision) else Status.DAMAGED
            return Entry(spec, status, folder, here.revision, size, str(error))
        return Entry(spec, Status.INSTALLED, folder, here.revision, size)

    def plan(self, name: str, revision: str | None = None) -> DownloadPlan:
        """What a download of an id, or of any repository owner/name, would fetch. Raises ModelError.

        A model that is pinned to a commit stays at it, unless a revision is given.
        """
        from wan_pipeline.models.download import plan_download  # here and below: the Hub's client is slow to import
        from wan_pipeline.models.hub import Hub

        repo = self._repo(name)
        pinned = CachedRepository(repo).pinned()
        return plan_download(Hub(self._endpoint), repo, revision or pinned)

    def fetch(self, name: str, order: DownloadPlan, observer: TransferObserver) -> Entry:
        """Download what `plan` found. A repository that the registry does not hold is imported first.

        Raises ModelError, StorageError, Cancelled.
        """
        from wan_pipeline.models.download import download
        from wan_pipeline.models.hub import Hub

        model_id = name if "/" not in name else self.import_repository(name, revision=order.repository.commit).spec.id
        download(Hub(self._endpoint), order, observer)
        return self.entry(model_id)

    def import_folder(self, folder: Path, model_id: str | None = None, title: str | None = None) -> Entry:
        """Know a model of a folder in diffusers layout, where it lies. Raises ModelError, StorageError."""
        folder = folder.expanduser().resolve()
        if not (folder / INDEX).is_file():
            raise ModelError(
                f"{folder} has no {INDEX}, so it is not a model in diffusers layout; choose its top folder."
            )
        title = title or folder.name
        spec = inspect(self._new_id(model_id, folder.name), title, lambda name: read_json(folder / name))
        check_files(folder, title)
        imported.write(self._settings.imported, Imported(spec, folder))
        return self.entry(spec.id)

    def import_files(
        self,
        files: Sequence[Path],
        config: str,
        observer: TransferObserver,
        model_id: str | None = None,
        title: str | None = None,
    ) -> Entry:
        """Make a model of a transformer in one file, of two for one with two experts, and the rest of another model.

        `config` is that model's id, repository or folder. Raises ModelError, StorageError, Cancelled.
        """
        from wan_pipeline.models.single_file import convert, read_source

        base = self._installed(config)
        components = ("transformer", "transformer_2") if base.has_two_experts else ("transformer",)
        if len(files) != len(components):
            ways = {1: "one transformer: give one file", 2: "two experts: give the other's file with --low-noise"}
            raise ModelError(f"{base.spec.title} has {ways[len(components)]}.")
        new_id = self._new_id(model_id, files[0].stem)
        target = self._settings.models / new_id
        if target.exists():
            raise ModelError(f"There is already a folder {target}; give the model another name with --id.")
        sources = {name: read_source(path, base, name) for name, path in zip(components, files, strict=True)}
        convert(sources, base, target, observer)
        spec = replace(
            base.spec,
            id=new_id,
            title=title or files[0].stem,
            repo=None,
            licence="unknown",
            availability=Availability.RELEASED,
            download_gb=0.0,
        )
        imported.write(self._settings.imported, Imported(spec, target))
        return self.entry(new_id)

    def _installed(self, name: str) -> InstalledModel:
        """A model that is here, by its id, its repository or its folder. Raises ModelError."""
        folder = Path(name).expanduser()
        if (folder / INDEX).is_file():
            check_files(folder, folder.name)
            spec = inspect("config", folder.resolve().name, lambda file: read_json(folder / file))
            return InstalledModel(spec, folder.resolve(), "")
        known = next((spec.id for spec in self.library.specs().values() if name == spec.repo), name)
        return self.library.find(known)

    def import_repository(
        self, repo: str, model_id: str | None = None, title: str | None = None, revision: str | None = None
    ) -> Entry:
        """Know a repository of the Hub by its configurations, read from the cache if it is there. Raises ModelError."""
        known = next((spec.id for spec in self.library.specs().values() if spec.repo == repo), None)
        if known is not None:
            return self.entry(known)
        read, licence = self._reader(repo, revision)
        title = title or repo.rpartition("/")[2]
        spec = inspect(self._new_id(model_id, repo), title, read, repo=repo, licence=licence)
        imported.write(self._settings.imported, Imported(replace(spec, download_gb=self._size(repo, revision)), None))
        return self.entry(spec.id)

    def verify(self, model_id: str, observer: TransferObserver) -> list[str]:
        """Read every byte: one sentence for each file that is not as published, or not whole. None means all is well.

        Without published hashes, as for a plain folder, the files are checked against their own headers. What is found
        damaged in the cache is put out of it, so that a download fetches it anew. Raises ModelError, Cancelled.
        """
        from wan_pipeline.models.download import damaged_files

        spec = self.library.spec(model_id)
        folder = self.library.folder(spec)
        if folder is None:
            raise ModelError(f"{spec.title} is not here; there is nothing to verify.")
        if spec.repo and folder.parent.name == "snapshots":
            damaged = damaged_files(spec.repo, folder.name, observer)
            if damaged is not None:
                for path in damaged:
                    CachedRepository(spec.repo).forget(folder.name, path)
                return [f"{path} is not as published; download the model again." for path in damaged]
        try:
            check_files(folder, spec.title)
        except ModelError as error:
            return [str(error)]
        return []

    def remove(self, model_id: str) -> int:
        """Free the disk of a model, and give the bytes. A folder that was imported stays, and is only forgotten.

        Raises ModelError, StorageError.
        """
        spec = self.library.spec(model_id)
        if spec.availability is Availability.BUNDLED:
            raise ModelError(f"{spec.title} is part of Wan Studio and cannot be removed.")
        freed = self._remove_folder(self._settings.models / spec.id)
        if spec.repo:
            cached = CachedRepository(spec.repo)
            with cached.locked():
                freed += cached.remove()
        if spec.id not in registry.MODELS:
            imported.remove(self._settings.imported, spec.id)
        elif not freed:
            raise ModelError(f"{spec.title} is not here; there is nothing to remove.")
        return freed

    def _absent(self, spec: ModelSpec) -> Entry:
        if spec.availability is Availability.ANNOUNCED:
            return Entry(spec, Status.ANNOUNCED, None, None, spec.download_gb, spec.missing)
        if spec.missing:
            return Entry(spec, Status.UNSUPPORTED, None, None, spec.download_gb, spec.missing)
        if spec.repo is None:
            return Entry(spec, Status.MISSING, None, None, 0.0, f"The folder of {spec.title} is not there any more.")
        is_begun = CachedRepository(spec.repo).is_begun()
        return Entry(spec, Status.PARTIAL if is_begun else Status.AVAILABLE, None, None, spec.download_gb)

    def _is_unfinished(self, spec: ModelSpec, revision: str | None) -> bool:
        """Whether its files are in the cache, and nobody has brought all of them."""
        return bool(spec.repo and revision and CachedRepository(spec.repo).manifest(revision) is None)

    def _repo(self, name: str) -> str:
        from wan_pipeline.models.hub import check_name

        if "/" in name:
            check_name(name)
            return name
        spec = self.library.spec(name)
        if spec.missing:
            raise ModelError(f"{spec.title} cannot be used yet. {spec.missing}")
        if spec.repo is None:
            raise ModelError(f"{spec.title} does not come from the Hugging Face Hub; there is nothing to download.")
        return spec.repo

    def _reader(self, repo: str, revision: str | None) -> tuple[Callable[[str], dict[str, Any]], str]:
        """What reads a repository's configurations, and its licence."""
        snapshot = CachedRepository(repo).snapshot()
        if snapshot is not None and revision in (None, snapshot.name):
            return (lambda name: read_json(snapshot / name)), "unknown"
        from wan_pipeline.models.hub import Hub

        hub = Hub(self._endpoint)
        repository = hub.look_up(repo, revision)
        return (lambda name: hub.read_config(repository, name)), repository.licence or "unknown"

    def _size(self, repo: str, revision: str | None) -> float:
        snapshot = CachedRepository(repo).snapshot()
        if snapshot is not None and revision in (None, snapshot.name):
            return InstalledModel(registry.DEMO, snapshot, "").bytes / 1e9
        return self.plan(repo, revision).total_bytes / 1e9

    def _new_id(self, wanted: str | None, name: str) -> str:
        model_id = wanted or imported.id_of(name)
        imported.check_id(model_id)
        if model_id in self.library.specs():
            raise ModelError(f"There is already a model '{model_id}'; give this one another name with --id.")
        return model_id

    def _remove_folder(self, folder: Path) -> int:
        if not folder.is_symlink() and not folder.exists():
            return 0
        try:
            if folder.is_symlink():
                folder.unlink()
                return 0
            found = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            size = sum(file.st_size for file in found if file.st_nlink <= 1)  # the others stay, under another model
            shutil.rmtree(folder)
        except OSError as error:
            raise storage_error(folder, error) from error
        return size
