"""Speeds: few steps by a distilled LoRA, one small TOML file each.

A style says how a clip looks, a speed how it is made, and they go together. A speed's settings override the style's and
are overridden by those of the form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from wan_pipeline.errors import LoraError, RequestError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.limits import FlowShift, Guidance, LoraWeight, Name, Steps
from wan_pipeline.requests.presets import Line, find_loaded, load_file
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.storage.live_folder import LiveFolder, LoadedFolder


def _check_known(model: str) -> str:
    if model not in registry.MODELS:
        raise ValueError(f"there is no such model; choose of: {', '.join(registry.MODELS)}")
    return model


ModelId = Annotated[str, AfterValidator(_check_known)]


@dataclass(frozen=True)
class Speed:
    """Settings that go with a distilled LoRA, which gives bad pictures with others."""

    id: Name
    title: Line
    description: Line
    models: Annotated[tuple[ModelId, ...], Field(min_length=1)]
    """Ids of the models it was made for."""
    lora: Name
    """The LoRA's name in the library: the file's stem, or the common part of a pair's."""
    repo: Name
    """Repository of the files on the Hugging Face Hub."""
    files: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]
    """One file, or the two of a pair."""
    num_inference_steps: Steps
    guidance_scale: Guidance
    flow_shift: FlowShift
    guidance_scale_2: Guidance | None = None
    scheduler: SchedulerName = SchedulerName.UNIPC
    lora_weight: LoraWeight = 1.0
    licence: Name = ""
    """Licence of the LoRA, if its authors name one."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def loras(self, chosen: tuple[LoraChoice, ...]) -> tuple[LoraChoice, ...]:
        """Put its own LoRA before the chosen ones, unless it is among them with a weight of its own."""
        if any(lora.name.casefold() == self.lora.casefold() for lora in chosen):
            return chosen
        return (LoraChoice(self.lora, self.lora_weight), *chosen)

    def fits(self, spec: ModelSpec) -> bool:
        """Whether it was made for this model; for an imported one, whether it was made for one of that architecture."""
        if spec.id in registry.MODELS:
            return spec.id in self.models
        likes = (registry.find(model) for model in self.models)
        return any(like.modes == spec.modes and like.memory == spec.memory for like in likes)

    def check_model(self, spec: ModelSpec) -> None:
        """Raise RequestError for a model that it was not made for."""
        if not self.fits(spec):
            raise RequestError(
                "speed",
                f"The speed '{self.title}' was made for {' and '.join(self.models)}, and not for {spec.id}; "
                "choose that model, or another speed.",
            )

    def check_files(self, loras: LoraLibrary) -> None:
        """Raise LoraError with the command that downloads the LoRA if it is not in the folder."""
        try:
            loras.find(self.lora)
        except LoraError as error:
            raise LoraError(
                f"The LoRA of this speed is not in {loras.folder}; run: "
                f'hf download {self.repo} --include "{self._pattern}" --local-dir "{loras.folder}"'
            ) from error

    @property
    def _pattern(self) -> str:
        """A glob pattern that matches its files and no others: `x_*_noise.safetensors`."""
        if len(self.files) == 1:
            return self.files[0]
        before = commonprefix(self.files)
        after = commonprefix([name[::-1] for name in self.files])[::-1]
        return f"{before}*{after}"


def load_speed(path: Path) -> Speed:
    """Read one speed file. Raises PresetError naming file, key and rule."""
    return load_file(path, Speed, "Speed")


def speed_folder(folder: Path) -> LiveFolder[Speed]:
    """The speeds of a folder by id (the file's stem), as the files are now."""
    return LiveFolder(folder, load_speed, lambda speed: speed.id)


def load_speeds(folder: Path) -> tuple[LoadedFolder[Speed], tuple[str, ...]]:
    """The speeds of `speed_folder` as they are now, and one sentence for each file left out."""
    loaded = speed_folder(folder).current()
    return loaded, loaded.problems


def find_speed(speeds: Mapping[str, Speed], speed_id: str) -> Speed:
    """Raises PresetError listing the known ids."""
    return find_loaded(speeds, speed_id, "speed")
