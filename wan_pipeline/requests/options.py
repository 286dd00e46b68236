"""The settings of a clip by name, as command-line options, CSV columns and JSONL keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.errors import UserError
from wan_pipeline.models.precision import Precision
from wan_pipeline.requests.inputs.image_fit import ImageFit
from wan_pipeline.requests.sampling.early_end import parse_early_end
from wan_pipeline.requests.sampling.guidance_interval import parse_interval
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.requests.sampling.step_cache import CacheKind, parse_amount, parse_kind

if TYPE_CHECKING:
    from wan_pipeline.requests.request import LoraChoice


@dataclass(frozen=True)
class Option:
    """One setting: `name` is what people write, `field` the field of Draft."""

    name: str
    field: str
    parse: Callable[[str], Any]
    """Raises UserError."""
    metavar: str
    help: str


def path(text: str) -> Path:
    """A path, in which `~` is the home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of a user who is not known
        return Path(text)


def whole(name: str) -> Callable[[str], int]:
    """Reads 42, and 42.0 as spreadsheets write it; not 4.2E+14, which they write for a number that they have cut."""

    def parse(text: str) -> int:
        try:
            return int(re.sub(r"(?<=\d)[.,]00?$", "", text.strip()))
        except ValueError:
            raise UserError(f"The {name} '{text[:80]}' is not a whole number; use one such as 16.") from None

    return parse


def number(name: str) -> Callable[[str], float]:
    """Reads 3.5, and 3,5 too; 3,500 only as 3.5 or 3500, for it may be either."""

    def parse(text: str) -> float:
        is_thousands = re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+", text.strip())
        try:
            return float(text if is_thousands else text.replace(",", "."))
        except ValueError:
            raise UserError(f"The {name} '{text[:80]}' is not a number; use one such as 3.5.") from None

    return parse


def noise_size(text: str) -> str:
    """Reads 192x128, 192 X 128 and 192×128, as 192x128, each also with @LEVEL; empty for none. Raises UserError."""
    from wan_pipeline.requests.sampling.noise_size import NoiseSize

    return str(NoiseSize.read(text) or "")


def lora(text: str) -> LoraChoice:
    """Parse NAME, NAME=WEIGHT, NAME=HIGH/LOW for two experts, or either with @POINTS over the steps after it.

    For example `ink=0.8`, `fast=3/1.5`, `ink=0.8@0:0,0.3:1`. A name with "=" in it needs a weight. Raises UserError.
    """
    from wan_pipeline.lora.schedule import Schedule  # here: --help needs none of it
    from wan_pipeline.requests.request import LoraChoice

    name, equals, strength = text.strip().rpartition("=")
    if not equals:
        return LoraChoice(text.strip())
    weights, at, points = strength.partition("@")
    read, what = number(f"weight of LoRA '{name[:80]}'"), f"LoRA '{name[:80]}' cannot be read"
    try:
        schedule = Schedule.parse(points) if at else None
    except ValueError as error:
        raise UserError(f"{what}: {error}.") from None
    high, slash, low = weights.partition("/")
    if slash:
        return LoraChoice(name.strip(), weight_high=read(high), weight_low=read(low), schedule=schedule)
    return LoraChoice(name.strip(), 1.0 if at and not weights.strip() else read(weights), schedule=schedule)


OPTIONS = (
    Option("prompt", "prompt", str, "TEXT", "what should be seen"),
    Option("image", "image", path, "FILE", "a picture to start from"),
    Option(
        "image-fit", "image_fit", str, "NAME", f"for a picture of another shape than the clip: {', '.join(ImageFit)}"
    ),
    Option(
        "image-crop",
        "image_crop",
        number("image crop"),
        "X",
        "what a crop keeps of the picture: from 0, its left or top, to 1, its right or bottom (0.5)",
    ),
    Option("last-image", "last_image", path, "FILE", "a picture to end with"),
    Option(
        "control-video",
        "control_video",
        path,
        "FILE",
        "a video to follow (VACE), a folder of pictures, or frame.%%04d.png",
    ),
    Option(
        "control-mask", "control_mask", path, "FILE", "a picture or video, white where the video is repainted (VACE)"
    ),
    Option("model", "model", str, "ID", "which model (the bundled demo)"),
    Option("preset", "preset", str, "ID", "a style of the presets folder"),
    Option("quality", "quality", str, "ID", "a quality of the presets folder, beside any style"),
    Option("speed", "speed", str, "ID", "few steps by a distilled LoRA: a file of presets/speeds"),
    Option("negative-prompt", "negative_prompt", str, "TEXT", "what should not be seen"),
    Option("prompt-before", "prompt_before", str, "TEXT", "words before the prompt (those of the project)"),
    Option("prompt-after", "prompt_after", str, "TEXT", "words after the prompt (those of the project)"),
    Option("seed", "seed", whole("seed"), "N", "the same seed and settings give the same clip (-1, random)"),
    Option("steps", "num_inference_steps", whole("steps"), "N", "denoising steps"),
    Option("guidance", "guidance_scale", number("guidance"), "X", "how closely to follow the prompt"),
    Option(
        "guidance-2", "guidance_scale_2", number("guidance"), "X", "the same for the second expert, if there is one"
    ),
    Option(
        "guidance-interval",
        "guidance_interval",
        parse_interval,
        "LOW:HIGH",
        "the noise levels with guidance, from 0 to 1: other steps take half the time (0:1, all; try 0.2:0.9)",
    ),
    Option("flow-shift", "flow_shift", number("flow shift"), "X", "more favours composition, less favours detail"),
    Option("quantization", "quantization", str, "NAME", f"weights: {', '.join(Precision)}; none: as the memory allows"),
    Option(
        "first-block-cache",
        "first_block_cache",
        number("first-block cache"),
        "X",
        "the threshold of --cache first-block itself (0, off; try 0.08)",
    ),
    Option("cache", "cache", parse_kind, "KIND", f"skip steps that change little: {', '.join(CacheKind)}"),
    Option(
        "cache-amount",
        "cache_amount",
        parse_amount,
        "HOW",
        "how much it skips: light, medium, strong, or 0 to 1 (medium)",
    ),
    Option(
        "early-end",
        "early_end",
        parse_early_end,
        "HOW",
        "end a draft once its steps change little: light, medium, strong, or 0 to 1 (off)",
    ),
    Option("scheduler", "scheduler", str, "NAME", f"solver: {', '.join(SchedulerName)}"),
    Option("width", "width", whole("width"), "PX", "width of the clip"),
    Option("height", "height", whole("height"), "PX", "height of the clip"),
    Option(
        "noise-size",
        "noise_size",
        noise_size,
        "WxH[@LEVEL]",
        "size of another clip of this seed whose layout is kept: 192x128 its noise, 192x128@0.65 its first steps too",
    ),
    Option("frames", "num_frames", whole("frames"), "N", "number of frames"),
    Option("fps", "fps", whole("frames per second"), "N", "frames per second"),
)
"""All settings but LoRAs and reference images, of which there may be several."""
FILES = tuple(option for option in OPTIONS if option.parse is path)
