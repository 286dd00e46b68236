"""What is done to a clip's frames once it is made: larger frames, and more of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field

from wan_pipeline.requests.request import GenerationRequest

Upscale = Literal[2, 3, 4]
Interpolate = Literal[2, 4]
UPSCALE_FACTORS: tuple[Upscale, ...] = get_args(Upscale)
INTERPOLATE_FACTORS: tuple[Interpolate, ...] = get_args(Interpolate)
NetworkName = Annotated[str, Field(max_length=255)]


@dataclass(frozen=True)
class PostProcessing:
    """How many times as large the frames become, and how many times as many there are. 1 leaves them."""

    upscale: Literal[1] | Upscale = 1
    interpolate: Literal[1] | Interpolate = 1
    upscaler: NetworkName = ""
    """Name of a file or folder among the upscalers; empty for the network that comes with the studio."""
    interpolator: NetworkName = ""
    """Name of a file in the folder of interpolators; empty for ffmpeg's motion compensation."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __bool__(self) -> bool:
        return self.upscale > 1 or self.interpolate > 1

    def __str__(self) -> str:
        larger = f"frames {self.upscale} times as large" if self.upscale > 1 else ""
        more = f"{self.interpolate} times as many" + ("" if larger else " frames") if self.interpolate > 1 else ""
        return " and ".join(filter(None, (larger, more)))

    def pixels(self, request: GenerationRequest) -> int:
        """Of all frames that it makes of the request's clip."""
        frames = (request.num_frames - 1) * self.interpolate + 1
        return request.width * request.height * self.upscale**2 * frames

    @property
    def suffix(self) -> str:
        """What its file has after the clip's name: `_x2`, `_smooth2` or `_x2_smooth2`."""
        larger = f"_x{self.upscale}" if self.upscale > 1 else ""
        return larger + (f"_smooth{self.interpolate}" if self.interpolate > 1 else "")


UNCHANGED = PostProcessing()
