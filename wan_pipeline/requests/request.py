"""The settings of one clip: partial (`Draft`) and complete (`GenerationRequest`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from wan_pipeline.errors import RequestError
from wan_pipeline.lora.schedule import StoredSchedule
from wan_pipeline.models.spec import Mode, clip_seconds
from wan_pipeline.requests.inputs.image_fit import MIDDLE, ImageFit
from wan_pipeline.requests.limits import (
    CacheAmount,
    CropPosition,
    EarlyEndAmount,
    FirstBlockCache,
    FlowShift,
    FrameRate,
    Frames,
    Guidance,
    GuidanceInterval,
    LoraWeight,
    Name,
    NoiseSizeText,
    Note,
    References,
    Seed,
    Side,
    Steps,
    Text,
)
from wan_pipeline.requests.sampling.guidance_interval import guided_steps
from wan_pipeline.requests.sampling.noise_size import NoiseSize
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.requests.sampling.step_cache import DEFAULT_AMOUNT, CacheKind, StepCache, amount_of_threshold
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

_YOUNG: dict[str, Any] = {
    "notes": (),
    "image_fit": ImageFit.CROP,
    "image_crop": MIDDLE,
    "prompt_before": "",
    "prompt_after": "",
    "layers": {},
    "cache": CacheKind.OFF,
    "cache_amount": DEFAULT_AMOUNT,
    "guidance_interval": None,
    "early_end": 0.0,
    "noise_size": "",
}
"""Fields of a request that its JSON leaves out at their defaults."""


@dataclass(frozen=True)
class LoraChoice:
    """One adapter: `name` is the file's stem in the LoRA folder, `weight` scales its effect."""

    name: Name
    weight: LoraWeight = 1.0
    weight_high: LoraWeight | None = None
    """For the high-noise expert of a model with two; None: `weight`."""
    weight_low: LoraWeight | None = None
    """For the low-noise expert."""
    schedule: StoredSchedule | None = None
    """Factors of the weight over the steps; None: 1 in all of them."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @property
    def weights(self) -> tuple[float, float]:
        """For the high-noise expert, which is the only one of most models, and for the low-noise one."""
        high = self.weight if self.weight_high is None else self.weight_high
        return high, self.weight if self.weight_low is None else self.weight_low

    @property
    def is_by_expert(self) -> bool:
        """Whether the two experts have weights of their own."""
        return self.weight_high is not None or self.weight_low is not None

    @property
    def strength(self) -> str:
        """For people: `0.8`, `3/1.5` for two experts, `1 over 0:0, 0.3:1`."""
        weights = "/".join(f"{weight:g}" for weight in (self.weights if self.is_by_expert else (self.weight,)))
        return weights if self.schedule is None else f"{weights} over {self.schedule}"

    @property
    def text(self) -> str:
        """What `options.lora` reads: NAME=WEIGHT, NAME=HIGH/LOW, and @POINTS after either."""
        weights = "/".join(f"{weight!r}" for weight in (self.weights if self.is_by_expert else (self.weight,)))
        return f"{self.name}={weights}" + (f"@{self.schedule}" if self.schedule else "")

    def to_dict(self) -> dict[str, Any]:
        """For JSON. What is left to the weight is left out, so that versions that know nothing else can read it."""
        return {
            "name": self.name,
            "weight": self.weight,
            **({} if self.weight_high is None else {"weight_high": self.weight_high}),
            **({} if self.weight_low is None else {"weight_low": self.weight_low}),
            **({} if self.schedule is None else {"schedule": str(self.schedule)}),
        }


@dataclass(frozen=True)
class Draft:
    """Partial settings, from the form, the command line or a list. What is None is left to lower layers."""

    prompt: str = ""
    image: Path | None = None
    model: str | None = None
    preset: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    fps: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    flow_shift: float | None = None
    scheduler: str | None = None
    loras: tuple[LoraChoice, ...] | None = None
    guidance_scale_2: float | None = None
    last_image: Path | None = None
    control_video: Path | None = None
    control_mask: Path | None = None
    """A picture or a video."""
    reference_images: tuple[Path, ...] = ()
    quantization: str | None = None
    first_block_cache: float | None = None
    cache: str | None = None
    """A step cache, a value of `CacheKind`."""
    cache_amount: float | None = None
    guidance_interval: tuple[float, float] | None = None
    early_end: float | None = None
    """From 0 (all steps) to 1 (ends earliest)."""
    speed: str | None = None
    """Id of a speed: settings and a LoRA that override those of preset and quality, and are overridden by these."""
    image_fit: str | None = None
    """`crop` or `pad`: how the first and the last image are fitted to the shape of the clip."""
    image_crop: float | None = None
    """Position of a crop: 0 keeps the left or top of the picture, 1 its right or bottom."""
    quality: str | None = None
    """Id of a preset of the kind "quality": settings that override those of the preset."""
    prompt_before: str | None = None
    """Words that go before the prompt: the project's, unless they are given."""
    prompt_after: str | None = None
    noise_size: str | None = None
    """WIDTHxHEIGHT, or WIDTHxHEIGHT@LEVEL, of the clip whose layout this one keeps at another size; see `NoiseSize`."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All input pictures and videos."""
        single = (self.image, self.last_image, self.control_video, self.control_mask)
        return (*(path for path in single if path is not None), *self.reference_images)


@dataclass(frozen=True)
class GenerationRequest:
    """All settings that decide the frames of one clip. Resolved once, never changed, stored as JSON.

    The types hold the limits that `from_dict` checks; those of the model are `limits.check_request`'s matter.
    """

    model: Name
    mode: Mode
    prompt: Text
    """The prompt as the user typed it, before the style."""
    styled_prompt: Text
    """The prompt between its project's words, inside its preset's template, cut to what the text encoder reads."""
    negative_prompt: Text
    seed: Seed
    width: Side
    height: Side
    num_frames: Frames
    fps: FrameRate
    num_inference_steps: Steps
    guidance_scale: Guidance
    flow_shift: FlowShift
    scheduler: SchedulerName
    preset: Name | None = None
    loras: tuple[LoraChoice, ...] = ()
    image: Name | None = None
    """SHA-256 of the normalised first image, which names its file in the workspace's `inputs` folder."""
    guidance_scale_2: Guidance | None = None
    """Guidance of the second expert; None for models with one."""
    last_image: Name | None = None
    """Named as `image` is, and so are the following."""
    control_video: Name | None = None
    control_mask: Name | None = None
    """A picture or a video, white where the control video is to be repainted."""
    reference_images: References = ()
    quantization: Name | None = None
    """Precision of the transformer's weights, a value of `Precision`; None: as memory allows."""
    notes: tuple[Note, ...] = ()
    """What of the prompt is not read, or is not read as it seems meant, one sentence each. Decides no frames."""
    image_fit: ImageFit = ImageFit.CROP
    """How the first and the last image are fitted to the shape of the clip."""
    image_crop: CropPosition = MIDDLE
    first_block_cache: FirstBlockCache = 0.0
    """How much the first block's output may change between steps for the others' to be reused; 0: never reused.

    `cache` has taken its place; requests that have it keep it.
    """
    prompt_before: Text = ""
    """The words of a project before the prompt, and after it."""
    prompt_after: Text = ""
    noise_size: NoiseSizeText = ""
    """WIDTHxHEIGHT in pixels at which the seed's noise is drawn before it is brought to this size; empty: its own.

    With @LEVEL the steps down to this noise level are made at that size too.
    """
    layers: dict[Name, Name] = field(default_factory=dict, compare=False)
    """The `Layer` that each setting came from, for clips of a project with a setup. Decides no frames."""
    cache: CacheKind = CacheKind.OFF
    """What skips steps that change little."""
    cache_amount: CacheAmount = DEFAULT_AMOUNT
    """How much it skips: 0 nothing, 1 the most."""
    guidance_interval: GuidanceInterval | None = None
    """The noise levels with guidance; None: all."""
    early_end: EarlyEndAmount = 0.0
    """How little the clean clip may change in a step for denoising to end: 0 never, 1 the most."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return clip_seconds(self.num_frames, self.fps)

    @property
    def begin_size(self) -> NoiseSize | None:
        """What `noise_size` says; None: it begins at its own size."""
        return NoiseSize.read(self.noise_size)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The stems of its files in the workspace's `inputs` folder."""
        single = (self.image, self.last_image, self.control_video, self.control_mask)
        return (*(name for name in single if name is not None), *self.reference_images)

    @property
    def uses_guidance(self) -> bool:
        """Whether each step has a second pass with the negative prompt; diffusers leaves it out from 1 down."""
        return self.guidance_scale > 1

    @property
    def texts(self) -> list[str]:
        """The texts that are encoded for it."""
        return [self.styled_prompt] + ([self.negative_prompt] if self.uses_guidance else [])

    @property
    def guided_steps(self) -> frozenset[int]:
        """The steps, counted from 0, with a second pass."""
        if not self.uses_guidance:
            return frozenset()
        return guided_steps(self.num_inference_steps, self.flow_shift, self.guidance_interval)

    @property
    def step_cache(self) -> StepCache | None:
        """The cache that is on, however the request names it."""
        if self.first_block_cache:
            return StepCache(CacheKind.FIRST_BLOCK, amount_of_threshold(self.first_block_cache))
        is_on = self.cache is not CacheKind.OFF and self.cache_amount > 0
        return StepCache(self.cache, self.cache_amount) if is_on else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON. What is young is left out at its default, so that older versions can read the rest."""
        values = asdict(self) | {"loras": tuple(lora.to_dict() for lora in self.loras)}
        return {name: value for name, value in values.items() if name not in _YOUNG or value != _YOUNG[name]}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_dict(cls, data: object) -> GenerationRequest:
        """The inverse of `to_dict`. Raises RequestError for an unknown key or a bad value."""
        try:
            return parse(cls, data)
        except OutsideDataError as error:
            raise _unreadable(error) from error

    @classmethod
    def from_json(cls, text: str) -> GenerationRequest:
        """The inverse of `to_json`. Raises RequestError."""
        try:
            return parse(cls, parse_json(text))
        except OutsideDataError as error:
            raise _unreadable(error) from error


def _unreadable(error: OutsideDataError) -> RequestError:
    field = str(error.path[0]) if error.path else "request"
    return RequestError(field, f"The stored request cannot be read: {error}.")
