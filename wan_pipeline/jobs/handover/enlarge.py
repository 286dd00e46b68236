"""Larger frames and more frames: a clip's frames, from its latents if it kept them, changed and written as H.264."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from wan_pipeline.progress import Observer
from wan_pipeline.settings import Settings

UPSCALE_FACTORS = (2, 3, 4)
INTERPOLATE_FACTORS = (2, 4)
MAX_SIDE = 8192


@dataclass(frozen=True)
class Finished:
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
) -> Finished:
    """Write the clip with larger frames, by the network of a file in the folder of upscalers, or the bundled one.

    Raises RequestError, ModelError, StorageError, GenerationError and Cancelled.
    """
    _check_factor(factor, UPSCALE_FACTORS)
    check_other(clip, output)
    source = open_source(clip)
    width, height = (side * factor for side in source.size)
    if max(width, height) > MAX_SIDE:
        raise RequestError(
            "factor", f"{width} x {height} is larger than H.264 takes, {MAX_SIDE}; choose a smaller factor."
        )
    from wan_pipeline.engine.upscaler.frames import frame_upscaler  # here: torch takes seconds to import

    order = ExportOrder(find_format("h264"), output)
    with device():
        upscaler = frame_upscaler(settings, factor, model)
        with writing(order, (width, height), source.rate, source.reel) as writer:
            from_latents, warnings = feed(source, settings, observer, _Changed(writer, upscaler.change))
    method = upscaler.method
    return Finished(output, writer.count, width, height, str(source.rate), method, from_latents, warnings)


def interpolate(
    clip: Path,
    factor: int,
    output: Path,
    settings: Settings,
    observer: Observer,
    model: str = "",
    device: TakeDevice = nullcontext,
) -> Finished:
    """Write the clip with `factor` times the frames in the same time: `factor` - 1 new ones between each two.

    They are made by the network of a file in the folder of interpolators, or by ffmpeg's motion compensation.

    Raises RequestError, ModelError, StorageError, GenerationError and Cancelled.
    """
    _check_factor(factor, INTERPOLATE_FACTORS)
    check_other(clip, output)
    source = open_source(clip)
    if file := interpolators_in(settings.interpolators).find(model):
        return _by_network(file, source, factor, output, settings, observer, device)
    rate, frames = source.rate * factor, (source.frames - 1) * factor + 1
    order = ExportOrder(_smooth(find_format("h264"), rate, frames), output)
    with writing(order, source.size, source.rate, source.reel) as writer:
        from_latents, warnings = feed(source, settings, observer, writer, device)
    return Finished(output, frames, *source.size, str(rate), MOTION, from_latents, warnings)


def _by_network(
    file: Path, source: Source, factor: int, output: Path, settings: Settings, observer: Observer, device: TakeDevice
) -> Finished:
    from wan_pipeline.engine.interpolator.frames import frame_interpolator  # here: torch takes seconds to import

    rate, order = source.rate * factor, ExportOrder(find_format("h264"), output)
    with device():
        maker = frame_interpolator(settings, file)
        with writing(order, source.size, rate, source.reel) as writer:
            from_latents, warnings = feed(source, settings, observer, BetweenWriter(writer, maker.between, factor))
    warnings = (*warnings, *maker.warnings)
    return Finished(output, writer.count, *source.size, str(rate), maker.method, from_latents, warnings)


def _smooth(form: Format, rate: Fraction, frames: int) -> Format:
    """The format with made frames in between. The last frame is held first, for the filter ends before its last one."""
    motion = f"minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
    filters = form.filters.replace(",setparams", f",tpad=stop_mode=clone:stop=4,{motion},setparams", 1)
    return replace(form, filters=filters, options=(*form.options, "-frames:v", str(frames)))


class _Changed:
    """A writer that changes what it passes on."""

    def __init__(self, writer: FrameWriter, change: Callable[[NDArray[np.uint16]], NDArray[np.uint16]]) -> None:
        self._writer, self._change = writer, change

    def write(self, frames: NDArray[np.uint16]) -> None:
        for frame in frames:
            self._writer.write(self._change(frame)[None])


def _check_factor(factor: int, allowed: tuple[int, ...]) -> None:
    if factor not in allowed:
        raise RequestError("factor", f"A factor of {factor} is not possible; choose {', '.join(map(str, allowed))}.")
