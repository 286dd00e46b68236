"""What is asked for: the partial form (`Draft`) and the complete, validated one (`GenerationRequest`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode, clip_seconds


class SchedulerName(StrEnum):
    """Flow-matching solvers. All integrate the same ODE; they differ in how few steps they need."""

    UNIPC = "unipc"
    EULER = "euler"
    DPMPP = "dpm++"


@dataclass(frozen=True)
class LoraChoice:
    """One adapter: `name` is the file's stem in the LoRA folder, `weight` scales its effect."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Draft:
    """Partial settings, as a form, a command line or a shot list gives them. None: preset, then model, decides."""

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
    loras: tuple[LoraChoice, ...] = ()
    guidance_scale_2: float | None = None
    last_image: Path | None = None
    control_video: Path | None = None
    control_mask: Path | None = None
    """A picture or a video."""
    reference_images: tuple[Path, ...] = ()
    quantization: str | None = None
    first_block_cache: float | None = None

    speed: str | None = None
    """Id of a speed: its settings and its LoRA, between those of the preset and these."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All pictures and videos that the clip is made from."""
        single = (self.image, self.last_image, self.control_video, self.control_mask)
        return (*(path for path in single if path is not None), *self.reference_images)


@dataclass(frozen=True)
class GenerationRequest:
    """Everything that decides the frames of one clip. Resolved once, never changed, stored as JSON."""

    model: str
    mode: Mode
    prompt: str
    """As typed."""
    styled_prompt: str
    """What the text encoder reads: the prompt inside its preset's template."""
    negative_prompt: str
    seed: int
    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    flow_shift: float
    scheduler: SchedulerName
    preset: str | None = None
    loras: tuple[LoraChoice, ...] = ()
    image: str | None = None
    """SHA-256 of the normalised input image, the stem of its file in the workspace's `inputs` folder."""
    guidance_scale_2: float | None = None
    """Of the second expert; None for models of one."""
    last_image: str | None = None
    """What the clip ends with; kept as `image` is, and so are the following."""
    control_video: str | None = None
    control_mask: str | None = None
    """White where the control video is to be made anew."""
    reference_images: tuple[str, ...] = ()
    quantization: str | None = None
    """Of the transformer's weights, a value of `Precision`; None: as the memory allows."""
    first_block_cache: float = 0.0
    """How much the first block's output may change from step to step for the rest to be taken from the step before:
    quicker, and another clip. 0: never."""

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return clip_seconds(self.num_frames, self.fps)

    @property
    def uses_guidance(self) -> bool:
        """Whether each step has a second pass with the negative prompt; diffusers leaves it out from 1 down."""
        return self.guidance_scale > 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GenerationRequest:
        """The inverse of `to_dict`. Raises RequestError naming a key that is unknown, missing or of a wrong kind."""
        known = {field.name for field in fields(cls)}
        for key in data:
            if key not in known:
                raise RequestError(
                    key, f"The stored request has an unknown setting '{key}'; it comes from another version."
                )
        try:
            request = cls(
                **{
                    **data,
                    "mode": Mode(data["mode"]),
                    "scheduler": SchedulerName(data["scheduler"]),
                    "loras": tuple(LoraChoice(**lora) for lora in data.get("loras", ())),
                    "reference_images": tuple(data.get("reference_images", ())),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError("request", f"The stored request cannot be read: {error}.") from error
        _check_kinds(request)
        for lora in request.loras:
            _check_kinds(lora)
        if not all(isinstance(name, str) for name in request.reference_images):
            raise RequestError("reference_images", "The stored request has reference images that are no names.")
        return request

    @classmethod
    def from_json(cls, text: str) -> GenerationRequest:
        return cls.from_dict(json.loads(text))


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}
_COUNTS = ("width", "height", "num_frames", "fps")


def _check_kinds(part: GenerationRequest | LoraChoice) -> None:
    """JSON may come from a file that somebody else has written. Ranges are the model's matter; zero is nobody's."""
    for field in fields(part):
        value = getattr(part, field.name)
        is_right = isinstance(value, _KINDS.get(str(field.type), object)) and not isinstance(value, bool)
        if not is_right or (field.name in _COUNTS and value < 1):
            raise RequestError(field.name, f"The stored request has '{field.name}' = {value!r:.40}, which cannot be.")
