"""Facts about a model family member, as one frozen value. No torch here: the page and the planner read these too."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wan_pipeline.models.memory import WAN_1_3B, MemoryFacts


class Mode(StrEnum):
    TEXT_TO_VIDEO = "text-to-video"
    IMAGE_TO_VIDEO = "image-to-video"


class Availability(StrEnum):
    BUNDLED = "bundled"
    """Ships in this repository."""
    RELEASED = "released"
    """Open weights on the Hugging Face Hub."""
    ANNOUNCED = "announced"
    """Known by name; no open weights yet."""


class LastImage(StrEnum):
    """Whether a clip may be led to a given last frame."""

    NO = "no"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True)
class Size:
    width: int
    height: int

    @property
    def label(self) -> str:
        shape = "landscape" if self.width > self.height else "portrait" if self.width < self.height else "square"
        return f"{self.width} x {self.height} {shape}"


@dataclass(frozen=True)
class ModelSpec:
    """What must be known of a model before its weights are touched.

    Numbers of the Wan family are those of the authors' released configurations (Wan 2.1 and Wan 2.2 repositories,
    `wan/configs/`), unless a field says otherwise.
    """

    id: str
    title: str
    modes: frozenset[Mode]
    sizes: tuple[Size, ...]
    """Offered sizes, the default first. Any other size on the grid and within the limits is allowed."""
    availability: Availability = Availability.RELEASED
    repo: str | None = None
    licence: str = "Apache-2.0"
    download_gb: float = 0.0
    """About; before a download the Hub is asked."""
    missing: str = ""
    """What this version lacks to run the model, as a sentence; empty for all that run."""
    last_image: LastImage = LastImage.NO
    takes_control: bool = False
    """Control video, mask and reference images (VACE)."""

    size_multiple: int = 16
    """Width and height are multiples of this: VAE spatial compression times the transformer's patch size."""
    min_side: int = 128
    max_pixels: int = 1920 * 1088
    spatial_compression: int = 8
    temporal_compression: int = 4
    """Frames come as 4k+1: the first frame alone, then groups of this many."""
    num_frames: int = 81
    max_frames: int = 161
    fps: int = 16

    num_inference_steps: int = 50
    guidance_scale: float = 5.0
    guidance_scale_2: float | None = None
    """Of the second expert, which does the last, low-noise steps; None for models of one."""
    flow_shift: float = 3.0
    negative_prompt: str = ""
    max_sequence_length: int = 512
    """Tokens of text that the transformer reads."""

    denoise_seconds_per_token: float = 1e-4
    """First guess of one transformer pass on two CPU cores, per latent token; replaced by what
    finished jobs took here."""
    decode_seconds_per_megapixel: float = 2.0
    """First guess of the VAE decoder, per million pixels of clip; replaced likewise."""

    memory: MemoryFacts = WAN_1_3B
    """What the memory planner reckons with."""

    @property
    def abilities(self) -> tuple[str, ...]:
        """The modes, and what else may be given beside the text, in the words of the command line."""
        last = () if self.last_image is LastImage.NO else ("first-last-frame",)
        return (*sorted(self.modes), *last, *(("control",) if self.takes_control else ()))

    def latent_tokens(self, width: int, height: int, num_frames: int) -> int:
        """Length of the transformer's sequence for a clip of this geometry."""
        frames = (num_frames - 1) // self.temporal_compression + 1
        return frames * (width // self.size_multiple) * (height // self.size_multiple)
