"""Speeds: few steps by a distilled LoRA, one small TOML file each.

A style says how a clip looks, a speed how it is made, and they go together. What a speed sets stands between the
style's settings and the person's own.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from os.path import commonprefix
from pathlib import Path
from typing import Any

from wan_pipeline.errors import LoraError, PresetError, RequestError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.limits import check_solver
from wan_pipeline.requests.request import LoraChoice, SchedulerName


@dataclass(frozen=True)
class Speed:
    """Settings that belong to a distilled LoRA: with others it gives a bad picture."""

    id: str
    title: str
    description: str
    models: tuple[str, ...]
    """Ids of the registry's models that it was made for."""
    lora: str
    """The choice in the LoRA folder that `files` are: a file's stem, or what is left of a pair's."""
    repo: str
    """Where the files come from, on the Hugging Face Hub."""
    files: tuple[str, ...]
    """One, or the two of a pair."""
    num_inference_steps: int
    guidance_scale: float
    flow_shift: float
    guidance_scale_2: float | None = None
    scheduler: str = SchedulerName.UNIPC
    lora_weight: float = 1.0
    licence: str = ""
    """Of the LoRA, if its authors name one."""

    def loras(self, chosen: tuple[LoraChoice, ...]) -> tuple[LoraChoice, ...]:
        """Its own LoRA before those that were chosen; a weight that was chosen for it counts."""
        if any(lora.name.casefold() == self.lora.casefold() for lora in chosen):
            return chosen
        return (LoraChoice(self.lora, self.lora_weight), *chosen)

    def fits(self, spec: ModelSpec) -> bool:
        """Whether it was made for this model, or for one of the registry that an imported model is built like."""
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
        """Raise LoraError with the way to get the LoRA if it is not in the folder."""
        try:
            loras.find(self.lora)
        except LoraError as error:
            raise LoraError(
                f"The LoRA of this speed is not in {loras.folder}; run: "
                f'hf download {self.repo} --include "{self._pattern}" --local-dir "{loras.folder}"'
            ) from error

    @property
    def _pattern(self) -> str:
        """What names all its files, and no other: `x_*_noise.safetensors`."""
        if len(self.files) == 1:
            return self.files[0]
        before = commonprefix(self.files)
        after = commonprefix([name[::-1] for name in self.files])[::-1]
        return f"{before}*{after}"


_LISTS = ("models", "files")


def load_speeds(folder: Path) -> dict[str, Speed]:
    """All speeds of a folder by id (the file's stem). Raises PresetError naming the first bad file and key."""
    return {path.stem: _load(path) for path in sorted(folder.glob("*.toml"))}


def find_speed(speeds: dict[str, Speed], speed_id: str) -> Speed:
    try:
        return speeds[speed_id]
    except KeyError:
        offer = ", ".join(speeds) or "none installed"
        raise PresetError(f"There is no speed '{speed_id[:80]}'; choose one of: {offer}.") from None


def _load(path: Path) -> Speed:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {key: tuple(data[key]) if key in _LISTS else data[key] for key in data}
        speed = Speed(id=path.stem, **values)
        check_solver(speed.num_inference_steps, speed.guidance_scale, speed.flow_shift)
        SchedulerName(speed.scheduler)
    except RequestError as error:
        raise PresetError(f"Speed file {path.name}, key '{error.field}': {error}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        known = ", ".join(field.name for field in fields(Speed) if field.name != "id")
        raise PresetError(f"Speed file {path.name} cannot be read ({error}); its keys are: {known}.") from error
    return speed
