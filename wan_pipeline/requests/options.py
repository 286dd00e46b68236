"""The settings of a clip by name, as command-line options, CSV columns and JSONL keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wan_pipeline.errors import UserError
from wan_pipeline.models.precision import Precision
from wan_pipeline.requests.request import LoraChoice, SchedulerName


@dataclass(frozen=True)
class Option:
    """One setting: `name` is what people write, `field` the field of Draft."""

    name: str
    field: str
    parse: Callable[[str], Any]
    """Raises UserError."""
    metavar: str
    help: str


def whole(name: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise UserError(f"The {name} '{text[:80]}' is not a whole number; use one such as 16.") from None

    return parse


def number(name: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UserError(f"The {name} '{text[:80]}' is not a number; use one such as 3.5.") from None

    return parse


def lora(text: str) -> LoraChoice:
    """Parse NAME or NAME=WEIGHT; a name with "=" in it needs a weight. Raises UserError."""
    name, equals, weight = text.strip().rpartition("=")
    if not equals:
        return LoraChoice(text.strip())
    return LoraChoice(name.strip(), number(f"weight of LoRA '{name[:80]}'")(weight))


OPTIONS = (
    Option("prompt", "prompt", str, "TEXT", "what should be seen"),
    Option("image", "image", Path, "FILE", "a picture to start from"),
    Option("last-image", "last_image", Path, "FILE", "a picture to end with"),
    Option(
        "control-video",
        "control_video",
        Path,
        "FILE",
        "a video to follow (VACE), a folder of pictures, or frame.%%04d.png",
    ),
    Option(
        "control-mask", "control_mask", Path, "FILE", "a picture or video, white where the video is repainted (VACE)"
    ),
    Option("model", "model", str, "ID", "which model (the bundled demo)"),
    Option("preset", "preset", str, "ID", "a style of the presets folder"),
    Option("speed", "speed", str, "ID", "few steps by a distilled LoRA: a file of presets/speeds"),
    Option("negative-prompt", "negative_prompt", str, "TEXT", "what should not be seen"),
    Option("seed", "seed", whole("seed"), "N", "the same seed and settings give the same clip (random)"),
    Option("steps", "num_inference_steps", whole("steps"), "N", "denoising steps"),
    Option("guidance", "guidance_scale", number("guidance"), "X", "how closely to follow the prompt"),
    Option(
        "guidance-2", "guidance_scale_2", number("guidance"), "X", "the same for the second expert, if there is one"
    ),
    Option("flow-shift", "flow_shift", number("flow shift"), "X", "more favours composition, less favours detail"),
    Option("quantization", "quantization", str, "NAME", f"weights: {', '.join(Precision)} (as the memory allows)"),
    Option(
        "first-block-cache",
        "first_block_cache",
        number("first-block cache"),
        "X",
        "skip blocks whose input changes less than this between steps: quicker, another clip (0, off; try 0.08)",
    ),
    Option("scheduler", "scheduler", str, "NAME", f"solver: {', '.join(SchedulerName)}"),
    Option("width", "width", whole("width"), "PX", "width of the clip"),
    Option("height", "height", whole("height"), "PX", "height of the clip"),
    Option("frames", "num_frames", whole("frames"), "N", "number of frames"),
    Option("fps", "fps", whole("frames per second"), "N", "frames per second"),
)
"""All settings but LoRAs and reference images, of which there may be several."""
FILES = tuple(option for option in OPTIONS if option.parse is Path)
