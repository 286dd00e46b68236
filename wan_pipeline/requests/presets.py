"""Presets: one small TOML file each, with partial settings. A look has a prompt template too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Protocol, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from wan_pipeline.errors import PresetError
from wan_pipeline.requests.limits import MAX_PROMPT_CHARACTERS, FlowShift, Frames, Guidance, Name, Side, Steps
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.storage.live_folder import LiveFolder, LoadedFolder
from wan_pipeline.storage.outside import OutsideDataError, parse, printable, read_toml_file


def _check_colors(colors: tuple[str, ...]) -> tuple[str, ...]:
    if len(colors) not in (2, 3) or not all(re.fullmatch("#[0-9a-fA-F]{6}", color) for color in colors):
        raise ValueError('write two or three colours like "#1e293b"')
    return colors


def _check_template(text: str) -> str:
    if text.count("{prompt}") != 1:
        raise ValueError("it must hold {prompt} once, where the typed prompt goes")
    return text


Line = Annotated[str, Field(min_length=1, max_length=200)]
"""A title or description."""
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Template = Annotated[Prompt, AfterValidator(_check_template)]
Colors = Annotated[tuple[str, ...], AfterValidator(_check_colors)]


class PresetGroup(StrEnum):
    """Where people look for a look."""

    BASIC = "basic"
    FILM = "film"
    ANIMATION = "animation"
    ARCHITECTURE = "architecture"
    PRODUCT = "product"
    ANIME = "anime"
    DOCUMENTARY = "documentary"
    NATURE = "nature"
    ABSTRACT = "abstract"


class PresetKind(StrEnum):
    """What a preset decides. A clip may have one of each kind."""

    LOOK = "look"
    """What the clip looks like, by words around the prompt."""
    QUALITY = "quality"
    """How much work goes into it, by settings alone."""


@dataclass(frozen=True)
class Preset:
    """A look or a quality. Settings that are None are left to the model."""

    id: Name
    title: Line
    description: Line
    colors: Colors = ("#64748b", "#cbd5e1")
    """Two or three CSS hex colours of its card."""
    kind: PresetKind = PresetKind.LOOK
    group: PresetGroup | None = None
    """None for a style that a person made, unless its file names one."""
    prompt: Template = "{prompt}"
    """Template of what the text encoder reads; `{prompt}` is replaced by the typed prompt."""
    negative_prompt: Prompt | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    flow_shift: FlowShift | None = None
    scheduler: SchedulerName | None = None
    width: Side | None = None
    height: Side | None = None
    num_frames: Frames | None = None
    project: Name = ""
    """Id of the project that it was saved in: guests of other projects do not see it. Empty: for all."""
    order: int = 100
    """Position among the cards, smallest first."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.kind is PresetKind.QUALITY and self.prompt != "{prompt}":
            raise ValueError("a quality has no prompt template; leave 'prompt' out, or make it a look")

    def styled(self, prompt: str) -> str:
        """The text that the text encoder reads."""
        return self.prompt.replace("{prompt}", prompt)


def load_preset(path: Path) -> Preset:
    """Read one preset file. Raises PresetError naming file, key and rule."""
    return load_file(path, Preset, "Preset")


def preset_folder(folder: Path, *more: Path) -> LiveFolder[Preset]:
    """The presets of folders by id (the file's stem), in card order, as the files are now."""
    return LiveFolder(folder, load_preset, lambda preset: (preset.order, preset.title), *more)


def load_presets(folder: Path) -> tuple[LoadedFolder[Preset], tuple[str, ...]]:
    """The presets of `preset_folder` as they are now, and one sentence for each file left out."""
    loaded = preset_folder(folder).current()
    return loaded, loaded.problems


def find_preset(presets: Mapping[str, Preset], preset_id: str) -> Preset:
    """Raises PresetError listing the known ids."""
    return find_loaded(presets, preset_id, "preset")


def find_quality(presets: Mapping[str, Preset], preset_id: str) -> Preset:
    """Raises PresetError listing the known ids, for a look too."""
    qualities = of_kind(presets, PresetKind.QUALITY)
    preset = find_loaded(presets, preset_id, "quality", qualities)
    if preset.kind is not PresetKind.QUALITY:
        raise PresetError(f"The preset '{preset.id}' is a style, not a quality; choose one of: {_offer(qualities)}.")
    return preset


def of_kind(presets: Mapping[str, Preset], kind: PresetKind) -> dict[str, Preset]:
    """The presets of one kind, by id, in card order."""
    return {preset_id: preset for preset_id, preset in presets.items() if preset.kind is kind}


def seen_in(presets: Mapping[str, Preset], project: str) -> dict[str, Preset]:
    """The presets for all, and those that were saved in this project, by id, in card order."""
    return {preset_id: preset for preset_id, preset in presets.items() if preset.project in ("", project)}


# Files of presets, and of speeds


class Titled(Protocol):
    @property
    def title(self) -> str: ...


T = TypeVar("T", bound=Titled)


def find_loaded(loaded: Mapping[str, T], name: str, what: str, offered: Iterable[str] | None = None) -> T:
    """One of the presets or speeds of a folder, by its id or title. `what` names the kind.

    Raises PresetError listing the ids that are `offered`, by default all.
    """
    if name in loaded:
        return loaded[name]
    wanted = name.strip().casefold()
    for loaded_id, one in loaded.items():
        if wanted in (loaded_id.casefold(), one.title.casefold()):
            return one
    now = loaded.current() if isinstance(loaded, LiveFolder) else loaded
    if isinstance(now, LoadedFolder) and name in now.left_out:
        raise PresetError(f"The {what} '{name[:80]}' is left out: {now.left_out[name]}")
    offer = _offer(loaded if offered is None else offered)
    raise PresetError(f"There is no {what} '{name[:80]}'; choose one of: {offer}.")


def _offer(ids: Iterable[str]) -> str:
    return ", ".join(ids) or "none installed"


def load_file(path: Path, kind: type[T], what: str) -> T:
    """Read the dataclass `kind` from a TOML file; its field `id` is the file's stem. Raises PresetError.

    `what` names the kind of file in errors.
    """
    keys = [field.name for field in fields(kind) if field.name != "id"]  # type: ignore[arg-type]  # a dataclass
    file = f"{what} file {printable(path.name)}"
    try:
        data = read_toml_file(path)
        unknown = next((key for key in data if key not in keys), None)
        if unknown is not None:
            known = ", ".join(sorted(keys))
            raise PresetError(f"{file} has an unknown key '{unknown[:80]}'; known keys: {known}.")
        return parse(kind, {"id": path.stem, **data})
    except (OutsideDataError, OSError) as error:
        raise PresetError(f"{file} cannot be read: {printable(str(error))}.") from error
