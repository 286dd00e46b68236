"""What can be done with models: list, download, import, verify, remove. The page and the command line share it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import constants

from wan_pipeline.errors import ModelError
from wan_pipeline.models import registry
from wan_pipeline.models.entries import Entry, make_entry
from wan_pipeline.models.files import check_files, revision_of
from wan_pipeline.models.hub.cache import CachedRepository
from wan_pipeline.models.importing.model_importer import ModelImporter
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.names import check_repository
from wan_pipeline.models.sound.registry import SOUND_MODELS
from wan_pipeline.models.spec import Availability
from wan_pipeline.models.transfer import free_bytes
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import storage_error
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked

if TYPE_CHECKING:
    from wan_pipeline.models.hub.download import DownloadPlan
    from wan_pipeline.models.transfer import TransferObserver

logger = logging.getLogger(__name__)


class ModelManager:
    """Manages the models of one workspace and of the Hugging Face cache.

    In a viewer app, methods that change a model raise LookingOnError.
    """

    def __init__(
        self,
        settings: Settings,
        library: ModelLibrary,
        endpoint: str | None = None,
        check_main_app: CheckMainApp = unchecked,
    ) -> None:
        """`endpoint` is the Hub's address, by default HF_ENDPOINT."""
        self._check_main_app = check_main_app
        self._settings = settings
        self._library = library
        self._endpoint = endpoint
        self._importer = ModelImporter(settings, library, endpoint)

    def entries(self) -> list[Entry]:
        """Every known model, in the registry's order. Uses no network."""
        return [make_entry(spec, self._library) for spec in self._library.specs().values()]

    def sound_entries(self) -> list[Entry]:
        """Every known model that makes sound. Uses no network."""
        return [make_entry(spec, self._library) for spec in SOUND_MODELS.values()]

    def all_entries(self) -> list[Entry]:
        """Those for clips, then those for sound."""
        return [*self.entries(), *self.sound_entries()]

    def entry(self, model_id: str) -> Entry:
        """Raises ModelError for an unknown id."""
        return make_entry(self._library.any_spec(model_id), self._library)

    def download_plan(self, name: str, revision: str | None = None) -> DownloadPlan:
        """What a download of an id, or of any repository owner/name, would transfer. Raises ModelError.

        A model that is pinned to a commit stays at it, unless a revision is given.
        """
        from wan_pipeline.models.hub.client import Hub
        from wan_pipeline.models.hub.download import plan_download  # here and below: the Hub's client is slow to import

        repo = self._repository_of(name)
        return plan_download(Hub(self._endpoint), repo, revision or CachedRepository(repo).pinned())

    @main_app_only
    def download(self, name: str, plan: DownloadPlan, observer: TransferObserver) -> Entry:
        """Carry out a download plan. A repository that is not known yet is imported first.

        Raises ModelError, StorageError, Cancelled.
        """
        from wan_pipeline.models.hub.client import Hub
        from wan_pipeline.models.hub.download import download

        model_id = name
        if "/" in name:
            model_id = self._importer.import_repository(name, revision=plan.repository.commit).id
        download(Hub(self._endpoint), plan, observer)
        return self.entry(model_id)

    @main_app_only
    def import_folder(self, folder: Path, model_id: str | None = None, title: str | None = None) -> Entry:
        """Add a folder in diffusers layout. Its files stay where they are. Raises ModelError, StorageError."""
        return self.entry(self._importer.import_folder(folder, model_id, title).id)

    @main_app_only
    def import_repository(self, repo: str, model_id: str | None = None, title: str | None = None) -> Entry:
        """Add a repository owner/name without downloading it. Raises ModelError, StorageError."""
        return self.entry(self._importer.import_repository(repo, model_id, title).id)

    @main_app_only
    def import_files(
        self,
        files: Sequence[Path],
        config: str,
        observer: TransferObserver,
        model_id: str | None = None,
        title: str | None = None,
        warn: Callable[[str], None] = logger.warning,
    ) -> Entry:
        """Make a model of single files or shards and the other components of `config`; see ModelImporter.

        Raises ModelError, StorageError, Cancelled.
        """
        return self.entry(self._importer.import_files(files, config, observer, model_id, title, warn).id)

    @main_app_only
    def verify(self, model_id: str, observer: TransferObserver) -> list[str]:
        """Read every byte and compare it with the published hashes: a sentence for each damaged file, or none.

        Without published hashes, as for a plain folder, files are only checked against their own headers. Damaged
        files are removed from the cache, so that the next download replaces them. Raises ModelError, Cancelled.
        """
        from wan_pipeline.models.hub.download import damaged_files

        spec = self._library.any_spec(model_id)
        folder = self._library.folder(spec)
        if folder is None:
            raise ModelError(f"{spec.title} is not installed; there is nothing to verify.")
        revision = revision_of(folder)
        if spec.repo and revision:
            damaged = damaged_files(spec.repo, revision, observer)
            if damaged is not None:
                for path in damaged:
                    CachedRepository(spec.repo).forget(revision, path)
                return [f"{path} is not as published; download the model again." for path in damaged]
        try:
            check_files(folder, spec.title)
        except ModelError as error:
            return [str(error)]
        return []

    def free_bytes(self) -> int:
        """What downloads may take of the disk of the Hugging Face cache."""
        return free_bytes(Path(constants.HF_HUB_CACHE))

    @main_app_only
    def remove(self, model_id: str) -> int:
        """Delete a model's files and give the bytes freed. An imported folder is not deleted, only forgotten.

        Raises ModelError, StorageError.
        """
        spec = self._library.any_spec(model_id)
        if spec.availability is Availability.BUNDLED:
            raise ModelError(f"{spec.title} is part of Wan Studio and cannot be removed.")
        freed = _remove_folder(self._settings.models / spec.id)
        if spec.repo:
            cached = CachedRepository(spec.repo)
            with cached.locked():
                freed += cached.remove()
        if not spec.sound and spec.id not in registry.MODELS:
            self._library.imported.remove(spec.id)
        elif not freed:
            raise ModelError(f"{spec.title} is not installed; there is nothing to remove.")
        return freed

    def _repository_of(self, name: str) -> str:
        if "/" in name:
            check_repository(name)
            return name
        spec = self._library.any_spec(name)
        if spec.missing:
            raise ModelError(f"{spec.title} cannot be used yet. {spec.missing}")
        if spec.repo is None:
            raise ModelError(f"{spec.title} does not come from the Hugging Face Hub; there is nothing to download.")
        return spec.repo


def _remove_folder(folder: Path) -> int:
    """Bytes freed; those of a linked folder, and of files that another model links to, stay. Raises StorageError."""
    try:
        if folder.is_symlink():
            folder.unlink()
            return 0
        if not folder.exists():
            return 0
        files = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        shutil.rmtree(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    return sum(file.st_size for file in files if file.st_nlink <= 1)
