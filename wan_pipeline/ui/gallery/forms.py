"""What the sheet of a clip asks for sound and other frames, parsed from what its boxes send."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field

from wan_pipeline.clips.sound.add import SoundOrder
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.clip_works.work import WorkKind, WorkOrder
from wan_pipeline.jobs.handover.sound import SoundDraft
from wan_pipeline.requests.limits import MAX_PROMPT_CHARACTERS
from wan_pipeline.requests.post_processing import NetworkName, PostProcessing
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

STRICT = ConfigDict(extra="forbid")
Number = Annotated[float, Field(ge=-1e6, le=1e6)] | None
Name = Annotated[str, Field(max_length=255)]
Loudness = Literal["", "-16", "-23"]
Form = TypeVar("Form")


@dataclass(frozen=True)
class AddForm:
    """How a file lies under the clip. An empty box is 0."""

    __pydantic_config__ = STRICT
    gain: Number = None
    at: Number = None
    fade_in: Number = None
    fade_out: Number = None
    loudness: Loudness = ""

    def order(self, file: Path, over: Path | None) -> SoundOrder:
        """Raises RequestError."""
        fades = self.fade_in or 0.0, self.fade_out or 0.0
        return SoundOrder(file, self.gain or 0.0, self.at or 0.0, lufs_of(self.loudness), *fades, over)


@dataclass(frozen=True)
class MakeForm:
    """A sound to make."""

    __pydantic_config__ = STRICT
    model: Name
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
    seconds: Number = None
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    loudness: Loudness = ""

    @property
    def order(self) -> WorkOrder:
        sound = SoundDraft(self.prompt, self.model, self.seconds, self.seed)
        return WorkOrder(WorkKind.SOUND, sound=sound, lufs=lufs_of(self.loudness))


@dataclass(frozen=True)
class FramesForm:
    """Larger frames, more frames, or both."""

    __pydantic_config__ = STRICT
    upscale: Literal["1", "2", "3", "4"]
    upscaler: NetworkName
    interpolate: Literal["1", "2", "4"]
    interpolator: NetworkName

    @property
    def order(self) -> WorkOrder:
        """Raises UserError for a form that leaves the frames as they are."""
        factors = {"upscale": int(self.upscale), "interpolate": int(self.interpolate)}
        frames = parse(PostProcessing, {**factors, "upscaler": self.upscaler, "interpolator": self.interpolator})
        if not frames:
            raise UserError("The frames would be those of the clip; choose larger ones, or more of them.")
        return WorkOrder(WorkKind.FRAMES, frames)


def read_form(kind: type[Form], text: str) -> Form:
    """Raises UserError for what no box of the sheet holds."""
    try:
        return parse(kind, parse_json(text))
    except OutsideDataError as error:
        where = f"{error.path[0]}: " if error.path else ""
        raise UserError(f"That cannot be used: {where}{error}; correct it in the form.") from error


def lufs_of(loudness: Loudness) -> float | None:
    return float(loudness) if loudness else None
