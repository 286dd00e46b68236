"""The settings in which clips differ, and the axes of a grid of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.early_end import early_end_text
from wan_pipeline.requests.sampling.guidance_interval import WHOLE, interval_text

Values = Mapping[str, str]
"""Values by the name of the setting, for people."""
MAX_COLUMNS = 8
"""Columns of a grid: more could not be read on a page."""


@dataclass(frozen=True)
class Grid:
    """Two settings that span a grid: every value of the one with every value of the other, once."""

    across: str
    columns: tuple[str, ...]
    down: str
    rows: tuple[str, ...]


def settings_of(request: GenerationRequest) -> dict[str, str]:
    """All that decides a clip's frames, in a few characters each."""
    fixed = {
        "prompt": request.prompt,
        "negative prompt": request.negative_prompt,
        "model": request.model,
        "style": request.preset or "none",
        "seed": str(request.seed),
        "steps": str(request.num_inference_steps),
        "guidance": f"{request.guidance_scale:g}",
        "guidance 2": "" if request.guidance_scale_2 is None else f"{request.guidance_scale_2:g}",
        "shift": f"{request.flow_shift:g}",
        "scheduler": request.scheduler.value,
        "size": f"{request.width} x {request.height}",
        "frames": str(request.num_frames),
        "fps": str(request.fps),
        "weights": request.quantization or "automatic",
        "cache": str(request.step_cache or "off"),
        "guidance interval": interval_text(request.guidance_interval or WHOLE),
        "early end": early_end_text(request.early_end),
        "pictures": ", ".join(name[:6] for name in request.input_names),
    }
    return fixed | {f"LoRA {lora.name}": lora.strength for lora in request.loras}


def differing(requests: Sequence[GenerationRequest]) -> list[dict[str, str]]:
    """For each request the settings in which not all agree. A LoRA that a request does not use is "none" there."""
    every = [settings_of(request) for request in requests]
    names = list(dict.fromkeys(name for values in every for name in values))
    varied = [name for name in names if len({values.get(name, "none") for values in every}) > 1]
    return [{name: values.get(name, "none") for name in varied} for values in every]


def grid_of(tiles: Sequence[Values]) -> Grid | None:
    """The grid that these tiles fill, if they differ in two settings and each combination is there once."""
    names = list(tiles[0]) if tiles else []
    if len(names) != 2:
        return None
    distinct = {name: tuple(dict.fromkeys(tile[name] for tile in tiles)) for name in names}
    down, across = sorted(names, key=lambda name: len(distinct[name]) if name != "prompt" else -1)
    columns, rows = distinct[across], distinct[down]
    pairs = {(tile[down], tile[across]) for tile in tiles}
    if len(columns) > MAX_COLUMNS or len(pairs) != len(tiles) or len(tiles) != len(columns) * len(rows):
        return None
    return Grid(across, _in_order(columns), down, _in_order(rows))


def _in_order(values: tuple[str, ...]) -> tuple[str, ...]:
    """Numbers by size; others as they came."""
    try:
        return tuple(sorted(values, key=float))
    except ValueError:
        return values
