"""`resolve` makes a complete request of settings in layers; see `layers`."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode, ModelSpec, Size
from wan_pipeline.requests.inputs.image_fit import MIDDLE, ImageFit, cropped_share
from wan_pipeline.requests.layers import (
    NO_LAYERS,
    Layer,
    Layers,
    Merged,
    in_order,
    merge,
    merge_chosen,
    negative_over,
    settings_of,
    style_of,
)
from wan_pipeline.requests.limits import MAX_RANDOM_SEED, RANDOM_SEED, check_request
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.sampling.guidance_interval import WHOLE
from wan_pipeline.requests.sampling.noise_size import NoiseSize
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.requests.sampling.speeds import Speed
from wan_pipeline.requests.sampling.step_cache import DEFAULT_AMOUNT, CacheKind

PENDING = "pending"
"""Stands for the name of a file that is not saved in the workspace yet."""


def merge_settings(
    draft: Draft,
    spec: ModelSpec,
    preset: Preset | None = None,
    image_size: tuple[int, int] | None = None,
    speed: Speed | None = None,
    quality: Preset | None = None,
    layers: Layers = NO_LAYERS,
) -> Merged:
    """Merge the LAYERED settings. `image_size` (width, height) chooses among the model's sizes."""
    below = {Layer.MODEL: _model_defaults(spec, image_size), Layer.PRESET: settings_of(preset)}
    negative = merge(below).values["negative_prompt"]
    own = {}
    for layer, setup in layers.above_style:
        own[layer] = settings_of(setup) | {"negative_prompt": negative_over(setup, negative)}
        negative = own[layer]["negative_prompt"] or negative
    chosen = {Layer.QUALITY: settings_of(quality), Layer.SPEED: settings_of(speed)}
    order = in_order(merge_chosen(draft, layers).origins)
    return merge({**below, **chosen, **own, Layer.FORM: settings_of(draft)}, order)


def resolve(
    draft: Draft,
    spec: ModelSpec,
    preset: Preset | None,
    image: str | None,
    image_size: tuple[int, int] | None,
    speed: Speed | None = None,
    quality: Preset | None = None,
    layers: Layers = NO_LAYERS,
) -> GenerationRequest:
    """Make a complete request of partial settings. Raises RequestError for a setting that the model cannot make.

    `image` is the name of the normalised input image, or PENDING; `image_size` is its width and height. The draft's
    other files are always PENDING. `spec`, `preset` and `speed` are those that draft and layers choose.
    """
    if speed:
        speed.check_model(spec)
    chosen = merge_chosen(draft, layers)
    merged = merge_settings(draft, spec, preset, image_size, speed, quality, layers)
    loras = chosen.values.get("loras", ())
    before, after = (chosen.values.get(name, "").strip() for name in ("prompt_before", "prompt_after"))
    request = GenerationRequest(
        model=spec.id,
        mode=Mode.IMAGE_TO_VIDEO if image else Mode.TEXT_TO_VIDEO,
        prompt=draft.prompt.strip(),
        styled_prompt=style_of(preset, before, after)(draft.prompt.strip()),
        seed=seed_of(draft),
        preset=preset.id if preset else None,
        loras=speed.loras(loras) if speed else loras,
        image=image,
        prompt_before=before,
        prompt_after=after,
        noise_size=_noise_size(draft, merged.values),
        layers={**chosen.origins, **merged.origins} if layers else {},
        **_pending_files(draft),
        **_framing(draft, image),
        **_checked(merged),
    )
    check_request(request, spec)
    return request


def seed_of(draft: Draft) -> int:
    """The draft's seed, or a random one if it leaves the choice."""
    if draft.seed is None or draft.seed == RANDOM_SEED:
        return random.randint(0, MAX_RANDOM_SEED)
    return draft.seed


def _model_defaults(spec: ModelSpec, image_size: tuple[int, int] | None) -> dict[str, Any]:
    width, height = _default_size(spec, image_size)
    fixed = {"width": width, "height": height, "scheduler": SchedulerName.UNIPC, "first_block_cache": 0.0}
    skipped = {"cache": CacheKind.OFF, "cache_amount": DEFAULT_AMOUNT, "guidance_interval": WHOLE, "early_end": 0.0}
    return settings_of(spec) | fixed | skipped


def _step_cache(merged: Merged) -> dict[str, Any]:
    """The cache, and the first-block cache's threshold: of the two the one of the higher layer holds."""
    values, order = merged.values, in_order(merged.origins)
    try:
        kind = CacheKind(values["cache"])
    except ValueError:
        raise RequestError(
            "cache", f"Cache '{str(values['cache'])[:40]}' is not known; use one of: {', '.join(CacheKind)}."
        ) from None
    above = order.index(merged.origins["cache"]) - order.index(merged.origins["first_block_cache"])
    if above > 0:
        return {"cache": kind, "first_block_cache": 0.0}
    return {"cache": CacheKind.OFF if above < 0 else kind}


def _pending_files(draft: Draft) -> dict[str, Any]:
    """The files beside the first image, which are not saved yet."""
    return {
        "last_image": PENDING if draft.last_image else None,
        "control_video": PENDING if draft.control_video else None,
        "control_mask": PENDING if draft.control_mask else None,
        "reference_images": (PENDING,) * len(draft.reference_images),
    }


def _checked(merged: Merged) -> dict[str, Any]:
    """Merged settings with the types of a request."""
    values = merged.values
    return {
        **values,
        **_step_cache(merged),
        "guidance_interval": None if values["guidance_interval"] == WHOLE else values["guidance_interval"],
        "scheduler": _scheduler(values["scheduler"]),
        "quantization": values.get("quantization") or None,  # an empty text: as the memory allows
    }


def _framing(draft: Draft, image: str | None) -> dict[str, Any]:
    """How the pictures are fitted; a clip without any keeps the defaults, which decide nothing then."""
    if image is None:
        return {}
    try:
        fit = ImageFit(draft.image_fit or ImageFit.CROP)
    except ValueError:
        known = " or ".join(ImageFit)
        raise RequestError("image_fit", f"Image fit '{str(draft.image_fit)[:40]}' is not known; use {known}.") from None
    return {"image_fit": fit, "image_crop": MIDDLE if draft.image_crop is None else draft.image_crop}


def _noise_size(draft: Draft, values: Mapping[str, Any]) -> str:
    """Empty for the clip's own size, which changes nothing."""
    begin = NoiseSize.read(draft.noise_size or "")
    own = f"{values['width']}x{values['height']}"
    return "" if begin is None or begin.size == own else str(begin)


def _scheduler(name: str) -> SchedulerName:
    try:
        return SchedulerName(name)
    except ValueError:
        raise RequestError(
            "scheduler", f"Scheduler '{name[:40]}' is not known; choose one of: {', '.join(SchedulerName)}."
        ) from None


def _default_size(spec: ModelSpec, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """The model's first size; with an image, a size of its shape."""
    if image_size is None:
        return spec.sizes[0].width, spec.sizes[0].height
    size = size_for(image_size, spec)
    return size.width, size.height


def size_for(image_size: tuple[int, int], spec: ModelSpec) -> Size:
    """The size that crops a picture least: one of the model's, or one on its grid with about as many pixels.

    As the Wan authors do for image to video (`max_area` in `wan/image2video.py`). A size of the model wins where it
    crops no more than a hundredth more.
    """
    offered = min(spec.sizes, key=lambda size: cropped(image_size, size))
    if not spec.any_shape:
        return offered
    ratio, area = image_size[0] / image_size[1], spec.sizes[0].width * spec.sizes[0].height
    grid = [_on_grid(height, ratio, spec) for height in range(spec.min_side, area // spec.min_side, spec.size_multiple)]
    fitting = [size for size in grid if 0.75 * area <= size.width * size.height <= 1.05 * area]
    best = min((offered, *fitting), key=lambda size: (round(cropped(image_size, size), 2), -size.width * size.height))
    return offered if cropped(image_size, offered) <= cropped(image_size, best) + 0.01 else best


def cropped(image_size: tuple[int, int], size: Size) -> float:
    """The share of a picture that is lost when it is scaled to cover a size."""
    return cropped_share(image_size, (size.width, size.height))


def _on_grid(height: int, ratio: float, spec: ModelSpec) -> Size:
    width = round(height * ratio / spec.size_multiple) * spec.size_multiple
    return Size(max(width, math.ceil(spec.min_side / spec.size_multiple) * spec.size_multiple), height)
