"""The facts of one model, as a frozen value. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from wan_pipeline.models.memory import WAN_1_3B, MemoryFacts

SHORTEST = 0.5
"""Seconds. A slider of the length starts here, unless the model cannot make that much."""
LENGTH_STEP = 0.25
"""Seconds. A slider's step."""
TEMPORAL_COMPRESSION = 4
"""Frames per latent frame after the first, in every Wan model."""


def clip_seconds(num_frames: int, fps: int) -> float:
    """Length of a clip as the Wan authors count it, from its first frame to its last: 81 frames at 16 fps are 5 s."""
    return (num_frames - 1) / fps


def frames_up_to(count: int, group: int = TEMPORAL_COMPRESSION) -> int:
    """The longest clip of at most `count` frames: one frame, and after it whole groups."""
    return (count - 1) // group * group + 1


class Mode(StrEnum):
    TEXT_TO_VIDEO = "text-to-video"
    IMAGE_TO_VIDEO = "image-to-video"


class SoundPipeline(StrEnum):
    """The classes of diffusers that make sound here, as `model_index.json` names them."""

    STABLE_AUDIO_3 = "StableAudio3Pipeline"
    ACE_STEP = "AceStepPipeline"
    LONGCAT = "LongCatAudioDiTPipeline"


class Availability(StrEnum):
    BUNDLED = "bundled"
    """Ships in this repository."""
    RELEASED = "released"
    """Open weights on the Hugging Face Hub."""
    ANNOUNCED = "announced"
    """Known by name, without open weights."""


class LastImage(StrEnum):
    """Whether a clip may end with a given image."""

    NO = "no"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True)
class Size:
    """Pixels of a frame."""

    width: int
    height: int


@dataclass(frozen=True)
class SoundFacts:
    """What a model that makes sound makes."""

    pipeline: SoundPipeline
    makes: str
    """For a person: "music", "speech"."""
    sample_rate: int
    """Hz."""
    channels: int
    max_seconds: float
    proposal: str
    """A prompt for a clip's sound, with `{scene}` for what the clip shows; empty where none can be guessed."""
    prompt_help: str
    """What its prompt says, as a sentence."""


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model before its weights are read.

    The numbers of Wan models are those of the authors' configurations (`wan/configs/` of the Wan 2.1 and Wan 2.2
    repositories), except where a comment says otherwise.
    """

    id: str
    title: str
    modes: frozenset[Mode]
    sizes: tuple[Size, ...]
    """Offered sizes, the default first. Any other size on the grid and within the limits is allowed too."""
    any_shape: bool = True
    """Whether other shapes come out as well as those of the offered sizes, so that a clip may have its picture's."""
    availability: Availability = Availability.RELEASED
    repo: str | None = None
    licence: str = "Apache-2.0"
    download_gb: float = 0.0
    """Approximate; the exact size comes from the Hub before a download."""
    missing: str = ""
    """Why this version cannot run the model, as a sentence; empty if it can."""
    last_image: LastImage = LastImage.NO
    takes_control: bool = False
    """Whether it takes a control video, a mask and reference images (VACE)."""

    size_multiple: int = 16
    """Width and height are multiples of this: VAE spatial compression times the transformer's patch size."""
    min_side: int = 128
    max_pixels: int = 1920 * 1088
    spatial_compression: int = 8
    latent_channels: int = 16
    temporal_compression: int = TEMPORAL_COMPRESSION
    """Frames per latent frame after the first, which has one of its own: a clip has 4k + 1 frames."""
    num_frames: int = 81
    max_frames: int = 161
    fps: int = 16

    num_inference_steps: int = 50
    guidance_scale: float = 5.0
    guidance_scale_2: float | None = None
    """Guidance of the low-noise expert; None for models with one transformer."""
    flow_shift: float = 3.0
    negative_prompt: str = ""
    max_sequence_length: int = 512
    """Text tokens that the transformer reads."""
    mag_ratios: tuple[float, ...] = ()
    """For MagCache, one a step; see `models.mag_ratios`. Empty: not measured."""
    vocabulary: str = ""
    """Name of the words that it knows, for a model that knows no others; see `models.vocabulary.words`."""

    memory: MemoryFacts = WAN_1_3B
    """Sizes of its parts, for the planner."""
    sound: SoundFacts | None = None
    """Set for a model that makes sound and no clips: then modes and sizes are empty, and what is said of frames does
    not concern it."""

    @property
    def needs_image(self) -> bool:
        """Whether every clip starts from a given image."""
        return Mode.TEXT_TO_VIDEO not in self.modes

    @property
    def abilities(self) -> tuple[str, ...]:
        """The modes and the other inputs it takes, in the words of the command line; "sound" for one that makes it."""
        if self.sound:
            return ("sound",)
        last = () if self.last_image is LastImage.NO else ("first-last-frame",)
        return (*sorted(self.modes), *last, *(("control",) if self.takes_control else ()))

    @property
    def length_bounds(self) -> tuple[float, float]:
        """Seconds of the shortest and the longest clip that a slider in steps of LENGTH_STEP offers."""
        longest = clip_seconds(frames_up_to(self.max_frames, self.temporal_compression), self.fps)
        if longest < SHORTEST:
            return longest, longest
        return SHORTEST, math.floor(longest / LENGTH_STEP) * LENGTH_STEP

    def frames_of(self, seconds: float, fps: int) -> int:
        """The inverse of `clip_seconds`, rounded to a number of frames that the model makes."""
        group = self.temporal_compression
        return round(seconds * fps / group) * group + 1

    def latent_tokens(self, width: int, height: int, num_frames: int) -> int:
        """Length of the transformer's sequence for a clip of this size in pixels and frames."""
        frames = (num_frames - 1) // self.temporal_compression + 1
        return frames * (width // self.size_multiple) * (height // self.size_multiple)
