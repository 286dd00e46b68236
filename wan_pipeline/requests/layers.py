"""Settings in layers: model defaults < style preset < project < shot < form. Each value remembers its layer.

`merge` is the one function that puts one layer over another. Quality and speed stand right below the layers that chose
them, so a project's steps override its own speed, and a speed chosen in the form overrides the project's steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from wan_pipeline.models.precision import Precision
from wan_pipeline.requests.limits import (
    MAX_PROMPT_CHARACTERS,
    CacheAmount,
    EarlyEndAmount,
    FirstBlockCache,
    FlowShift,
    FrameRate,
    Frames,
    Guidance,
    GuidanceInterval,
    Name,
    Side,
    Steps,
)
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.prompts.characters import Character
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.requests.sampling.guidance_interval import WHOLE
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.requests.sampling.step_cache import CacheKind

LAYERED = (
    "width",
    "height",
    "num_frames",
    "fps",
    "num_inference_steps",
    "guidance_scale",
    "guidance_scale_2",
    "flow_shift",
    "scheduler",
    "negative_prompt",
    "quantization",
    "first_block_cache",
    "cache",
    "cache_amount",
    "guidance_interval",
    "early_end",
)
"""Settings that any layer may set."""
CHOSEN = ("model", "preset", "quality", "speed", "loras", "prompt_before", "prompt_after")
"""Settings that a project, a shot or the form chooses. The others of a request come from the form alone."""
STYLES = ("preset", "quality", "speed")
"""Settings that a user may set to none."""
WITH_NONE = (*STYLES, "quantization")
"""Settings that lists and the command line may set to NONE; for weights it means as the memory allows."""
PROFILES = ("draft", "final")
"""Of a project: what else than its setup a clip may be made by."""
NONE = "none"
"""What people write for none where a project has one. In a draft that is an empty text."""

Words = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]


class Layer(StrEnum):
    """Where a value may come from, lowest first. `in_order` says where QUALITY and SPEED stand."""

    MODEL = "model"
    PRESET = "preset"
    QUALITY = "quality"
    SPEED = "speed"
    PROJECT = "project"
    SHOT = "shot"
    FORM = "form"


@dataclass(frozen=True)
class Setup:
    """Settings that a project or a shot gives to its clips. What is None is left to the layers below."""

    model: Name | None = None
    preset: Name | None = None
    quality: Name | None = None
    speed: Name | None = None
    loras: tuple[LoraChoice, ...] | None = None
    prompt_before: Words | None = None
    """Words that go before every prompt."""
    prompt_after: Words | None = None
    negative_prompt: Words | None = None
    replaces_negative_prompt: bool = False
    """Whether `negative_prompt` takes the place of the one below, the authors' own; else it is added to it."""
    width: Side | None = None
    height: Side | None = None
    num_frames: Frames | None = None
    fps: FrameRate | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    guidance_scale_2: Guidance | None = None
    flow_shift: FlowShift | None = None
    scheduler: SchedulerName | None = None
    quantization: Precision | None = None
    first_block_cache: FirstBlockCache | None = None
    cache: CacheKind | None = None
    cache_amount: CacheAmount | None = None
    guidance_interval: GuidanceInterval | None = None
    early_end: EarlyEndAmount | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def over(self, below: Setup) -> Setup:
        """This setup over another one."""
        own = {name: value for name, value in vars(self).items() if value is not None and value is not False}
        return replace(below, **own)


@dataclass(frozen=True)
class Layers:
    """The layers between the style and the form."""

    project: Setup = Setup()
    shot: Setup = Setup()
    characters: Mapping[str, Character] = field(default_factory=dict)
    """The project's characters and places, which a prompt may name. They set nothing by themselves."""

    def __bool__(self) -> bool:
        """Whether any of them sets anything."""
        return (self.project, self.shot) != (NO_LAYERS.project, NO_LAYERS.shot)

    @property
    def above_style(self) -> tuple[tuple[Layer, Setup], ...]:
        return ((Layer.PROJECT, self.project), (Layer.SHOT, self.shot))


NO_LAYERS = Layers()
"""Layers of clips outside projects."""


@dataclass(frozen=True)
class Merged:
    """The values that won, and the layer that each comes from."""

    values: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Layer] = field(default_factory=dict)


def merge(layers: Mapping[Layer, Mapping[str, Any]], order: Iterable[Layer] = Layer) -> Merged:
    """Merge settings, higher layers over lower ones. None leaves a setting to the layers below."""
    values: dict[str, Any] = {}
    origins: dict[str, Layer] = {}
    for layer in order:
        for name, value in layers.get(layer, {}).items():
            if value is not None:
                values[name], origins[name] = value, layer
    return Merged(values, origins)


def merge_chosen(draft: Draft, layers: Layers) -> Merged:
    """Merge the CHOSEN settings."""
    setups: dict[Layer, Any] = {**dict(layers.above_style), Layer.FORM: draft}
    return merge({layer: settings_of(setup, CHOSEN) for layer, setup in setups.items()})


def chosen_by(draft: Draft, layers: Layers) -> Draft:
    """The draft with what the layers choose for it."""
    return replace(draft, **merge_chosen(draft, layers).values) if layers else draft


def shown(draft: Draft) -> Draft:
    """The draft of a form that shows its style, quality, speed and LoRAs: those that it has not are NONE."""
    styles: dict[str, Any] = {name: getattr(draft, name) or "" for name in STYLES}
    return replace(draft, **styles, loras=draft.loras or ())


def settled(draft: Draft) -> Draft:
    """The draft of a request, for a list, with nothing left to its project: missing settings are NONE, empty or off."""
    none: dict[str, Any] = {name: getattr(draft, name) or NONE for name in WITH_NONE}
    none |= {name: getattr(draft, name) or "" for name in ("prompt_before", "prompt_after")}
    none |= {"cache": draft.cache or CacheKind.OFF.value, "guidance_interval": draft.guidance_interval or WHOLE}
    none |= {name: getattr(draft, name) or 0.0 for name in ("first_block_cache", "early_end")}
    return replace(draft, **none, loras=draft.loras or ())


def with_none_read(draft: Draft) -> Draft:
    """The draft with the word NONE read for what it says."""
    none: dict[str, Any] = {name: "" for name in WITH_NONE if (getattr(draft, name) or "").casefold() == NONE}
    return replace(draft, **none)


def in_order(origins: Mapping[str, Layer]) -> list[Layer]:
    """All layers, lowest first, QUALITY and SPEED right below those that chose them, in `origins` by name."""
    order: list[Layer] = [layer for layer in Layer if layer not in (Layer.QUALITY, Layer.SPEED)]
    for layer in (Layer.QUALITY, Layer.SPEED):
        order.insert(order.index(origins.get(layer.value, Layer.FORM)), layer)
    return order


def settings_of(source: Any, names: Iterable[str] = LAYERED) -> dict[str, Any]:
    """The settings that the source has; none for None."""
    return {name: getattr(source, name) for name in _known(source.__class__, tuple(names))}


@cache
def _known(kind: type, names: tuple[str, ...]) -> tuple[str, ...]:
    """Which names are fields of a dataclass; cached, as it is needed for each row of a list."""
    known = {each.name for each in fields(kind)} if is_dataclass(kind) else set()
    return tuple(name for name in names if name in known)


# Words


def negative_over(setup: Setup, below: str) -> str | None:
    """The setup's negative prompt as a layer over the one below; None if it has none."""
    if setup.negative_prompt is None or setup.replaces_negative_prompt:
        return setup.negative_prompt
    return ", ".join(text for text in (below.strip(), setup.negative_prompt.strip()) if text)


def with_words(before: str, prompt: str, after: str) -> str:
    """A prompt between its project's words, with commas where the words bring no punctuation of their own."""
    if before := before.strip():
        before += " " if before[-1] in ",.;:!?，。" else ", "
    if after := after.strip():
        after = after if after[0] in ",.;:!?，。" else f", {after}"
    return f"{before}{prompt}{after}"


def style_of(preset: Preset | None, before: str, after: str) -> Callable[[str], str]:
    """Makes of a prompt the text that the text encoder reads: the project's words around it, then the style's."""
    head, tail = (preset.prompt if preset else "{prompt}").split("{prompt}")
    head, tail = head + with_words(before, "", ""), with_words("", "", after) + tail
    return lambda prompt: f"{head}{prompt}{tail}"
