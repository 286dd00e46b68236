"""Larger frames and more frames: a clip's frames, from its latents if it kept them, changed and written as H.264."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wan_pipeline.clips.export.formats import Format, find_format
from wan_pipeline.clips.export.order import ExportOrder
from wan_pipeline.clips.export.source import Source, open_source
from wan_pipeline.clips.export.write import FrameWriter, writing
from wan_pipeline.clips.naming import check_other
from wan_pipeline.engine.interpolator.files import MOTION, interpolators_in
from wan_pipeline.errors import RequestError
from wan_pipeline.jobs.device import TakeDevice
from wan_pipeline.jobs.handover.between import BetweenWriter
from wan_pipeline.jobs.handover.export import feed
from wan_pipeline.jobs.handover.larger import LargerProgress, LargerWriter, OnlyCancelled, finished
from wan_pipeline.progress import Observer
from wan_pipeline.requests.post_processing import INTERPOLATE_FACTORS, UPSCALE_FACTORS, PostProcessing
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.engine.interpolator.frames import FrameInterpolator
    from wan_pipeline.engine.upscaler.clip import ClipUpscaler

MAX_SIDE = 8192
Factor = TypeVar("Factor", bound=int)


@dataclass(frozen=True)
class PostProcessed:
    """What was written."""

    path: Path
    frames: int
    width: int
    height: int
    fps: str
    method: str
    from_latents: bool
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path.resolve()), "warnings": list(self.warnings)}


def upscale(
    clip: Path,
    factor: int,
    output: Path,
    settings: Settings,
    observer: Observer,
    model: str = "",
    device: TakeDevice = nullcontext,
) -> PostProcessed:
    """Write the clip with larger frames, by a network in the folder of upscalers, or the bundled one.

    Raises what `post_process` raises.
    """
    return post_process(
        clip,
        PostProcessing(upscale=_one_of(factor, UPSCALE_FACTORS), upscaler=model),
        output,
        settings,
        observer,
        device,
    )


def interpolate(
    clip: Path,
    factor: int,
    output: Path,
    settings: Settings,
    observer: Observer,
    model: str = "",
    device: TakeDevice = nullcontext,
) -> PostProcessed:
    """Write the clip with `factor` times the frames in the same time: `factor` - 1 new ones between each two.

    They are made by the network of a file in the folder of interpolators, or by ffmpeg's motion compensation. Raises
    what `post_process` raises.
    """
    wanted = PostProcessing(interpolate=_one_of(factor, INTERPOLATE_FACTORS), interpolator=model)
    return post_process(clip, wanted, output, settings, observer, device)


def post_process(
    clip: Path,
    wanted: PostProcessing,
    output: Path,
    settings: Settings,
    observer: Observer,
    device: TakeDevice = nullcontext,
) -> PostProcessed:
    """Write the clip with larger frames, with more of them, or both: frames are enlarged before others come between.

    Raises RequestError, ModelError, StorageError, GenerationError and Cancelled.
    """
    check_other(clip, output)
    source = open_source(clip)
    size, frames = _size(source, wanted.upscale), (source.frames - 1) * wanted.interpolate + 1
    with ExitStack() as stack:
        progress = LargerProgress(observer, source.frames)
        upscaler, interpolator = _networks(wanted, settings, stack, device, progress.tick)
        order, rate = ExportOrder(find_format("h264"), output), source.rate * wanted.interpolate
        if wanted.interpolate > 1 and interpolator is None:  # ffmpeg makes the others
            order, rate = replace(order, format=_smooth(order.format, rate, frames)), source.rate
        writer: FrameWriter = stack.enter_context(writing(order, size, rate, source.reel))
        if interpolator:
            writer = BetweenWriter(writer, interpolator.between, wanted.interpolate)
        if upscaler is None:
            from_latents, warnings = feed(source, settings, observer, writer, nullcontext if interpolator else device)
        else:
            spool = upscaler.fills_device and source.latents is not None  # they are decoded on the device
            with finished(LargerWriter(writer, upscaler), spool=spool) as larger:
                from_latents, warnings = feed(source, settings, OnlyCancelled(observer), larger)
    warnings += interpolator.warnings if interpolator else ()
    method = " + ".join(_methods(wanted, upscaler, interpolator))
    fps = str(source.rate * wanted.interpolate)
    return PostProcessed(output, frames, *size, fps, method, from_latents, warnings)


def _networks(
    wanted: PostProcessing, settings: Settings, stack: ExitStack, device: TakeDevice, tick: Callable[[float], None]
) -> tuple[ClipUpscaler | None, FrameInterpolator | None]:
    """What makes frames larger and what makes others between; the stack holds the device if there is either."""
    file = interpolators_in(settings.interpolators).find(wanted.interpolator) if wanted.interpolate > 1 else None
    if wanted.upscale == 1 and file is None:
        return None, None
    from wan_pipeline.engine.interpolator.frames import frame_interpolator  # here: torch takes seconds to import
    from wan_pipeline.engine.upscaler.clip import clip_upscaler

    stack.enter_context(device())
    upscaler = clip_upscaler(settings, wanted.upscale, wanted.upscaler, tick) if wanted.upscale > 1 else None
    return upscaler, frame_interpolator(settings, file) if file else None


def _methods(
    wanted: PostProcessing, upscaler: ClipUpscaler | None, interpolator: FrameInterpolator | None
) -> list[str]:
    """By what it was done."""
    between = [interpolator.method if interpolator else MOTION] if wanted.interpolate > 1 else []
    return ([upscaler.method] if upscaler else []) + between


def _size(source: Source, factor: int) -> tuple[int, int]:
    width, height = source.size[0] * factor, source.size[1] * factor
    if max(width, height) > MAX_SIDE:
        raise RequestError(
            "factor", f"{width} x {height} is larger than H.264 takes, {MAX_SIDE}; choose a smaller factor."
        )
    return width, height


def _smooth(form: Format, rate: Fraction, frames: int) -> Format:
    """The format with made frames in between. The last frame is held first, for the filter ends before its last one."""
    motion = f"minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
    filters = form.filters.replace(",setparams", f",tpad=stop_mode=clone:stop=4,{motion},setparams", 1)
    return replace(form, filters=filters, options=(*form.options, "-frames:v", str(frames)))


def _one_of(factor: int, allowed: tuple[Factor, ...]) -> Factor:
    found = next((each for each in allowed if each == factor), None)
    if found is None:
        raise RequestError("factor", f"A factor of {factor} is not possible; choose {', '.join(map(str, allowed))}.")
    return found
