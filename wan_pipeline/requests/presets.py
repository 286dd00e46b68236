"""Presets: small TOML files with partial settings and a prompt template; and `resolve`, which makes a request whole."""

from __future__ import annotations

import math
import random
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wan_pipeline.errors import PresetError, RequestError
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.limits import MAX_SEED, check_request, check_solver
from wan_pipeline.requests.request import Draft, GenerationRequest, SchedulerName
from wan_pipeline.requests.speeds import Speed


@dataclass(frozen=True)
class Preset:
    """One style card. Settings left out come from the model."""

    id: str
    title: str
    description: str
    colors: tuple[str, ...] = ("#64748b", "#cbd5e1")
    """Two or three CSS hex colours of the card."""
    prompt: str = "{prompt}"
    """Template of what the text encoder reads; `{prompt}` stands for what the person typed."""
    negative_prompt: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    flow_shift: float | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    order: int = 100
    """Position among the cards, smallest first."""

    def styled(self, prompt: str) -> str:
        """What the text encoder reads."""
        return self.prompt.replace("{prompt}", prompt)


PENDING = "pending"
"""The name of a file that is not kept in the workspace yet."""
_FILES = {"image", "last_image", "control_video", "control_mask", "reference_images"}
_ALWAYS_GIVEN = {"model", "prompt", "seed", "loras", "preset"} | _FILES
"""Settings of a request that `resolve` takes from the draft by itself."""

_TYPES: dict[str, tuple[type, ...]] = {
    "title": (str,),
    "description": (str,),
    "prompt": (str,),
    "negative_prompt": (str,),
    "scheduler": (str,),
    "colors": (list,),
    "num_inference_steps": (int,),
    "width": (int,),
    "height": (int,),
    "num_frames": (int,),
    "order": (int,),
    "guidance_scale": (int, float),
    "flow_shift": (int, float),
}


def load_preset(path: Path) -> Preset:
    """Read one preset file. Raises PresetError naming the file and the key that is wrong."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PresetError(f"Preset file {path.name} cannot be read: {error}.") from error
    for key, value in data.items():
        _check_key(path, key, value)
    for key in ("title", "description"):
        if key not in data:
            raise PresetError(f"Preset file {path.name} lacks the key '{key}'; add a line {key} = \"…\".")
    if "colors" in data:
        data["colors"] = tuple(data["colors"])
    preset = Preset(id=path.stem, **data)
    if preset.prompt.count("{prompt}") != 1:
        raise PresetError(
            f"Preset file {path.name}, key 'prompt': it must hold {{prompt}} once, where the typed prompt goes."
        )
    if preset.scheduler is not None and preset.scheduler not in set(SchedulerName):
        raise PresetError(
            f"Preset file {path.name}, key 'scheduler': '{preset.scheduler}' is not one of {', '.join(SchedulerName)}."
        )
    try:
        check_solver(preset.num_inference_steps, preset.guidance_scale, preset.flow_shift)
    except RequestError as error:
        raise PresetError(f"Preset file {path.name}, key '{error.field}': {error}") from error
    return preset


def _check_key(path: Path, key: str, value: object) -> None:
    if key not in _TYPES:
        raise PresetError(
            f"Preset file {path.name} has an unknown key '{key}'; known keys: {', '.join(sorted(_TYPES))}."
        )
    if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
        wanted = " or ".join(kind.__name__ for kind in _TYPES[key])
        raise PresetError(f"Preset file {path.name}, key '{key}': {value!r} is not of type {wanted}.")
    if key == "colors" and not _are_colors(value):
        raise PresetError(f"Preset file {path.name}, key 'colors': write two or three colours like \"#1e293b\".")


def _are_colors(value: object) -> bool:
    """Two or three CSS colours like "#1e293b"."""
    return (
        isinstance(value, list)
        and len(value) in (2, 3)
        and all(isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color) for color in value)
    )


def load_presets(folder: Path) -> dict[str, Preset]:
    """All presets of a folder by id (the file's stem), in card order. Raises PresetError for the first bad file."""
    presets = [load_preset(path) for path in sorted(folder.glob("*.toml"))]
    return {preset.id: preset for preset in sorted(presets, key=lambda preset: (preset.order, preset.title))}


def find_preset(presets: dict[str, Preset], preset_id: str) -> Preset:
    try:
        return presets[preset_id]
    except KeyError:
        raise PresetError(
            f"There is no preset '{preset_id}'; choose one of: {', '.join(presets) or 'none installed'}."
        ) from None


def resolve(
    draft: Draft,
    spec: ModelSpec,
    preset: Preset | None,
    image: str | None,
    image_size: tuple[int, int] | None,
    speed: Speed | None = None,
) -> GenerationRequest:
    """The one place where partial settings become a whole request: draft over speed over preset over model.

    `image` is the SHA-256 of the normalised input image, or a word in its place until it is known, and `image_size` its
    width and height; the nearest of the model's shapes is chosen from it when no size was asked for. The draft's other
    files are always named by such a word. Raises RequestError for anything out of range.
    """
    size = _default_size(spec, image_size)
    chosen = {
        "width": size[0],
        "height": size[1],
        "num_frames": spec.num_frames,
        "fps": spec.fps,
        "num_inference_steps": spec.num_inference_steps,
        "guidance_scale": spec.guidance_scale,
        "guidance_scale_2": spec.guidance_scale_2,
        "flow_shift": spec.flow_shift,
        "scheduler": SchedulerName.UNIPC,
        "negative_prompt": spec.negative_prompt,
        "first_block_cache": 0.0,
        **_given(preset),
        **_given(speed),
        **_given(draft),
    }
    prompt = draft.prompt.strip()
    if speed:
        speed.check_model(spec)
    request = GenerationRequest(
        model=spec.id,
        mode=Mode.IMAGE_TO_VIDEO if image else Mode.TEXT_TO_VIDEO,
        prompt=prompt,
        styled_prompt=preset.styled(prompt) if preset else prompt,
        seed=random.randint(0, MAX_SEED) if draft.seed is None else draft.seed,
        preset=preset.id if preset else None,
        loras=speed.loras(draft.loras) if speed else draft.loras,
        image=image,
        last_image=PENDING if draft.last_image else None,
        control_video=PENDING if draft.control_video else None,
        control_mask=PENDING if draft.control_mask else None,
        reference_images=(PENDING,) * len(draft.reference_images),
        **{**chosen, "scheduler": _scheduler(str(chosen["scheduler"]))},  # type: ignore[arg-type]
    )
    check_request(request, spec)
    return request


def _given(source: Preset | Speed | Draft | None) -> dict[str, Any]:
    """The optional settings that the source does not leave open."""
    if source is None:
        return {}
    names = {field.name for field in fields(GenerationRequest)} - _ALWAYS_GIVEN
    return {name: value for name in names if (value := getattr(source, name, None)) is not None}


def _scheduler(name: str) -> SchedulerName:
    try:
        return SchedulerName(name)
    except ValueError:
        raise RequestError(
            "scheduler", f"Scheduler '{name}' is not known; choose one of: {', '.join(SchedulerName)}."
        ) from None


def _default_size(spec: ModelSpec, image_size: tuple[int, int] | None) -> tuple[int, int]:
    if image_size is None:
        return spec.sizes[0].width, spec.sizes[0].height
    ratio = image_size[0] / image_size[1]
    nearest = min(spec.sizes, key=lambda size: abs(math.log(size.width / size.height / ratio)))  # least is cropped
    return nearest.width, nearest.height
