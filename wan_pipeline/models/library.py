"""Which models are on this machine, and where. No network, no torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wan_pipeline.errors import ModelError
from wan_pipeline.models import registry
from wan_pipeline.models.files import (
    check_files,
    fingerprint,
    has_index,
    read_weights_header,
    revision_of,
    weight_files,
)
from wan_pipeline.models.importing.imported import ImportedModels
from wan_pipeline.models.reading.configs import INDEX, TRANSFORMERS, Config, DamagedModelError, components, read_config
from wan_pipeline.models.sound.registry import SOUND_MODELS
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.models.weights import TensorInfo
from wan_pipeline.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InstalledModel:
    """A model and its folder. `fingerprint` identifies its files, for what is cached by them, such as embeddings."""

    spec: ModelSpec
    folder: Path

    @cached_property
    def fingerprint(self) -> str:
        """See `fingerprint`. Only on demand: lists of models are shown without reading their weights."""
        return fingerprint(self.folder)

    def index(self) -> Config:
        """`model_index.json`: the pipeline's class, settings and components. Raises ModelError."""
        return read_config(self.folder / INDEX)

    def config(self, component: str, name: str = "config.json") -> Config:
        """A component's configuration. Raises ModelError."""
        return read_config(self.folder / component / name)

    def tensors(self, component: str) -> dict[str, TensorInfo]:
        """The tensors of a component's weights, by their headers. Raises ModelError."""
        files = weight_files(self.folder / component)
        return {
            name: info for path in files for name, info in read_weights_header(path, self.spec.title).tensors.items()
        }

    def component_files(self, component: str) -> list[Path]:
        """The weight files of one component. Raises ModelError."""
        return list(weight_files(self.folder / component))

    def weight_files(self) -> dict[str, Path]:
        """The weight files of all components, by their paths within the folder. Raises ModelError."""
        paths = [path for name in sorted(components(self.index())) for path in self.component_files(name)]
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    @property
    def has_two_experts(self) -> bool:
        """Whether one transformer denoises the early steps and another the late ones."""
        return len(self.transformers) == 2

    @property
    def transformers(self) -> tuple[str, ...]:
        """The components that are transformers. Raises ModelError."""
        present = components(self.index())
        return tuple(name for name in TRANSFORMERS if name in present)

    @cached_property
    def transformer_files(self) -> tuple[Path, ...]:
        """The weight files of the transformers, as they are when first asked for. Raises ModelError."""
        return tuple(path for name in self.transformers for path in self.component_files(name))

    @property
    def revision(self) -> str | None:
        """The commit of the Hugging Face repository that the folder is a snapshot of; None for a plain folder."""
        return revision_of(self.folder)


class ModelLibrary:
    """Finds models in the bundled checkpoint, the models folder, imported folders and the Hugging Face cache."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.imported = ImportedModels(settings.imported)

    def specs(self) -> dict[str, ModelSpec]:
        """Every known model by id: those of the registry, then the imported ones."""
        found = {model_id: model.spec for model_id, model in self.imported.all().items()}
        return registry.MODELS | {key: spec for key, spec in found.items() if key not in registry.MODELS}

    def spec(self, model_id: str) -> ModelSpec:
        """The facts of a model. Raises ModelError listing the known ids."""
        specs = self.specs()
        if model_id not in specs:
            raise ModelError(f"There is no model '{model_id[:80]}'; choose one of: {', '.join(specs)}.")
        return specs[model_id]

    def all_specs(self) -> dict[str, ModelSpec]:
        """As `specs`, with the models for sound after those for clips."""
        return self.specs() | SOUND_MODELS

    def any_spec(self, model_id: str) -> ModelSpec:
        """As `spec`, of a model for sound too."""
        return SOUND_MODELS.get(model_id) or self.spec(model_id)

    def find_sound(self, model_id: str = "") -> InstalledModel:
        """A complete model that makes sound; without an id the first one here. Raises ModelError."""
        if model_id and model_id not in SOUND_MODELS:
            known = ", ".join(SOUND_MODELS)
            raise ModelError(f"There is no model for sound '{model_id[:80]}'; choose one of: {known}.")
        if model_id:
            return self.complete(SOUND_MODELS[model_id])
        if here := self.installed_sound():
            return here[0]
        raise ModelError(
            "No model for sound is here; see `python -m wan_pipeline models`, or put a sound file under the clip."
        )

    def installed_sound(self) -> list[InstalledModel]:
        """Every model for sound that is complete by the headers of its files."""
        found = []
        for spec in SOUND_MODELS.values():
            try:
                found.append(self.complete(spec))
            except ModelError as error:
                logger.debug("%s", error)
        return found

    def installed(self) -> list[InstalledModel]:
        """Every model that is complete by the headers of its files and that this version can run."""
        found = []
        for spec in self.specs().values():
            try:
                found.append(self.find(spec.id))
            except ModelError as error:
                logger.debug("%s", error)
        return found

    def find(self, model_id: str) -> InstalledModel:
        """A model that is complete by the headers of its files. Raises ModelError with what is missing."""
        return self.complete(self.spec(model_id))

    def complete(self, spec: ModelSpec) -> InstalledModel:
        """As `find`, of a model's facts."""
        if spec.missing:
            raise ModelError(f"{spec.title} cannot be used yet. {spec.missing}")
        folder = self.folder(spec)
        if folder is None:
            raise ModelError(self._absent(spec))
        try:
            check_files(folder, spec.title)
        except DamagedModelError as error:
            if spec.repo and revision_of(folder):
                command = f"python -m wan_pipeline models download {spec.id}"
                raise ModelError(f"{error.problem}; run: {command}") from error
            raise
        return InstalledModel(spec, folder)

    def folder(self, spec: ModelSpec) -> Path | None:
        """Where the model's files are, complete or not; None if there is no model index."""
        candidates = [self._settings.models / spec.id]
        if spec.availability is Availability.BUNDLED:
            candidates.insert(0, self._settings.demo_checkpoint)
        stored = None if spec.id in registry.MODELS else self.imported.all().get(spec.id)
        if stored and stored.folder:
            candidates.append(stored.folder)
        for folder in candidates:
            if has_index(folder):
                return folder
        return _cached_snapshot(spec.repo) if spec.repo else None

    def _absent(self, spec: ModelSpec) -> str:
        match spec.availability:
            case Availability.ANNOUNCED:
                return f"{spec.title} is announced, but its weights are not public yet; choose another model."
            case Availability.BUNDLED:
                return f"{spec.title} is not at {self._settings.demo_checkpoint}; check the repository out again."
            case Availability.RELEASED if spec.sound and spec.repo is None:
                return (
                    f"{spec.title} is not here, and not published in diffusers layout; convert it by the script of "
                    f"diffusers and put the folder at {self._settings.models / spec.id}."
                )
            case Availability.RELEASED if spec.repo is None:
                return f"{spec.title} is not in the folder it was imported from; move it back, or import it again."
            case Availability.RELEASED:
                return (
                    f"{spec.title} is not installed; run: python -m wan_pipeline models download {spec.id}, "
                    f"or put the files of {spec.repo} into {self._settings.models / spec.id}"
                )


def _cached_snapshot(repo: str) -> Path | None:
    """The repository's snapshot in the Hugging Face cache, if there is one."""
    from wan_pipeline.models.hub.cache import CachedRepository  # here: huggingface_hub is slow to import

    return CachedRepository(repo).snapshot()
