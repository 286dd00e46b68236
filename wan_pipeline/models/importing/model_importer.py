"""Imports models: from a folder, from a repository of the Hub, or from single files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from wan_pipeline.errors import ModelError
from wan_pipeline.models.files import check_files, folder_bytes, has_index
from wan_pipeline.models.foreign import check_not_authors
from wan_pipeline.models.hub.cache import CachedRepository
from wan_pipeline.models.importing.imported import ImportedModel
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.names import check_id, check_repository, id_of, is_text
from wan_pipeline.models.reading.configs import INDEX, ReadConfig, read_config
from wan_pipeline.models.reading.inspect import inspect
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.models.transfer import TransferObserver
from wan_pipeline.settings import Settings

logger = logging.getLogger(__name__)


class ModelImporter:
    """Adds models to a library. Each method gives the facts that it found and stored."""

    def __init__(self, settings: Settings, library: ModelLibrary, endpoint: str | None = None) -> None:
        """`endpoint` is the Hub's address, by default HF_ENDPOINT."""
        self._settings = settings
        self._library = library
        self._endpoint = endpoint

    def import_folder(self, folder: Path, model_id: str | None = None, title: str | None = None) -> ModelSpec:
        """Add a folder in diffusers layout. Its files stay where they are. Raises ModelError, StorageError."""
        folder = folder.expanduser().resolve()
        if not has_index(folder):
            check_not_authors(folder)
            raise ModelError(
                f"{folder} has no {INDEX}, so it is not a model in diffusers layout; choose its top folder."
            )
        title = title or folder.name
        _check_text(str(folder), title)
        spec = inspect(self._new_id(model_id, folder.name), title, lambda name: read_config(folder / name))
        check_files(folder, title)
        return self._add(spec, folder)

    def import_repository(
        self, repo: str, model_id: str | None = None, title: str | None = None, revision: str | None = None
    ) -> ModelSpec:
        """Add owner/name, by its configurations in the cache or on the Hub; a repository that is known stays as it is.

        Raises ModelError, StorageError.
        """
        known = next((spec for spec in self._library.specs().values() if spec.repo == repo), None)
        if known is not None:
            return known
        check_repository(repo)
        title = title or repo.rpartition("/")[2]
        _check_text(title)
        read, licence, size = self._repository_facts(repo, revision)
        spec = inspect(self._new_id(model_id, repo), title, read, repo=repo, licence=licence)
        return self._add(replace(spec, download_gb=size / 1e9), None)

    def import_files(
        self,
        files: Sequence[Path],
        config: str,
        observer: TransferObserver,
        model_id: str | None = None,
        title: str | None = None,
        warn: Callable[[str], None] = logger.warning,
    ) -> ModelSpec:
        """Make a model of a transformer in a file or in shards, or of one for each of two experts.

        A file for everything gives what it holds beside the transformer too; the rest is that of `config`, another
        model's id, repository or folder. `warn` gets a sentence for unused parts of the file. Raises ModelError,
        StorageError, Cancelled.
        """
        from wan_pipeline.models.importing.single_file import convert
        from wan_pipeline.models.importing.source import read_beside, read_source, read_stored, transformer_paths

        base, given = self._installed(config), files[0]
        files = transformer_paths(files)
        if len(files) != len(base.transformers):
            one, two = "one transformer: give one file", "two experts: give the other's file with --low-noise"
            raise ModelError(f"{base.spec.title} has {two if base.has_two_experts else one}.")
        name = given.name if given.is_dir() else given.stem
        new_id = self._new_id(model_id, name)
        target = self._settings.models / new_id
        if target.exists():
            raise ModelError(f"There is already a folder {target}; give the model another name with --id.")
        title = title or name
        _check_text(str(target), title)
        stored = [read_stored(path) for path in files]
        sources = {name: read_source(each, base, name) for name, each in zip(base.transformers, stored, strict=True)}
        sources |= read_beside(stored[0], base, warn)
        convert(sources, base, target, observer)
        own = replace(base.spec, id=new_id, title=title, repo=None, licence="unknown")
        memory = inspect(new_id, title, lambda name: read_config(target / name)).memory  # its own, whatever the base is
        return self._add(replace(own, availability=Availability.RELEASED, download_gb=0.0, memory=memory), target)

    def _add(self, spec: ModelSpec, folder: Path | None) -> ModelSpec:
        self._library.imported.add(ImportedModel(spec, folder))
        return spec

    def _installed(self, name: str) -> InstalledModel:
        """A complete model by its id, repository or folder. Raises ModelError."""
        folder = Path(name).expanduser()
        if has_index(folder):
            folder = folder.resolve()
            check_files(folder, folder.name)
            return InstalledModel(inspect("config", folder.name, lambda file: read_config(folder / file)), folder)
        known = next((spec.id for spec in self._library.specs().values() if name == spec.repo), name)
        return self._library.find(known)

    def _repository_facts(self, repo: str, revision: str | None) -> tuple[ReadConfig, str, int]:
        """What reads its configurations, its licence, and the bytes of its files."""
        snapshot = CachedRepository(repo).snapshot()
        if snapshot is not None and revision in (None, snapshot.name):
            return (lambda name: read_config(snapshot / name)), "unknown", folder_bytes(snapshot)
        from wan_pipeline.models.hub.client import Hub
        from wan_pipeline.models.hub.download import needed_files  # here: the Hub's client is slow to import

        hub = Hub(self._endpoint)
        repository = hub.look_up(repo, revision)
        read = cache(lambda name: hub.read_config(repository, name))
        size = sum(file.size for file in needed_files(repository, read(INDEX)))
        return read, repository.licence or "unknown", size

    def _new_id(self, wanted: str | None, name: str) -> str:
        model_id = wanted or id_of(name)
        check_id(model_id)
        if model_id in self._library.specs():
            raise ModelError(f"There is already a model '{model_id}'; give this one another name with --id.")
        return model_id


def _check_text(*texts: str) -> None:
    for text in texts:
        if not is_text(text):
            raise ModelError(f"{text!r} is not valid text; rename it, or give a --title.")
