"""Where things live and how the device is used. One value, made at the entry point and passed in."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from wan_pipeline.errors import UserError

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent
"""The checkout; after `pip install`, the folder of installed packages, which nothing is written to."""
_SHIPPED_PRESETS = PACKAGE / "presets"
"""Exists only in an installed package: in a checkout the presets are at the top level."""
_IS_INSTALLED = _SHIPPED_PRESETS.is_dir()
_HOME = Path.home() / "Wan Studio" if _IS_INSTALLED else REPOSITORY
LATENTS_VARIABLE = "WAN_STUDIO_KEEP_LATENTS"
"""Whether clips keep their latents: "no" for not."""
ENHANCER_VARIABLE = "WAN_STUDIO_ENHANCER"
"""The instruction model that makes prompts richer."""
DEVICE_VARIABLE = "WAN_STUDIO_DEVICE"
DEVICES = ("cpu", "cuda", "xpu", "mps")
"""Devices by torch's names; ROCm is `cuda` there too."""
WORKSPACE_VARIABLE = "WAN_STUDIO_WORKSPACE"
NO_DEVICES = "none"
"""As `Settings.devices`: other machines make the clips."""
SPACE_VARIABLE = "SPACE_ID"
"""Set by the Hugging Face Hub where the app runs as a Space: "namespace/name"."""
SPACE_STORAGE = Path("/data")
"""Where a Space has its storage mounted, if it has any."""


def is_on_space() -> bool:
    return bool(os.environ.get(SPACE_VARIABLE))


def default_workspace() -> Path:
    """What the environment names; else the storage of a Space, or its temporary folder; else the usual place."""
    if named := os.environ.get(WORKSPACE_VARIABLE):
        return Path(named)
    if not is_on_space():
        return _HOME / "workspace"
    storage = SPACE_STORAGE if os.access(SPACE_STORAGE, os.W_OK) else Path(tempfile.gettempdir())
    return storage / "wan-studio"


@dataclass(frozen=True)
class Settings:
    """Folders of one studio, how much of a clip may be lost with a worker, and how the device is used.

    `workspace` holds everything the studio writes; the other folders are only read. In a checkout all are inside it;
    after `pip install` they are in `Wan Studio`, in the user's home folder, except for the presets and the demo model,
    which come with the package.
    """

    workspace: Path = field(default_factory=default_workspace)
    presets: Path = _SHIPPED_PRESETS if _IS_INSTALLED else REPOSITORY / "presets"
    loras: Path = _HOME / "loras"
    """Where LoRA files lie, and where trained ones go."""
    models: Path = _HOME / "models"
    """Model folders in diffusers layout, one per registry id, beside those in the Hugging Face cache."""
    demo_checkpoint: Path = PACKAGE / "demo" / "checkpoint"
    """The bundled demo model."""
    checkpoint_seconds: float = 30.0
    """Seconds of denoising that may be lost with a worker: longer clips save checkpoints. 0 saves one every step."""

    memory_limit: float = 0.0
    """GiB of the device's memory that may be used; 0 is all that is free."""
    plan: str = ""
    """The memory plan to use, as `planning.memory_plan` writes it; empty for the fastest that fits."""
    compiled: bool = False
    """Compile the transformer's blocks: about a minute once, then faster steps."""
    attention: str = "auto"
    """How self-attention computes, as `planning.attention` names it."""
    device: str = field(default_factory=lambda: os.environ.get(DEVICE_VARIABLE, ""))
    """One of DEVICES; empty for the accelerator where there is one, else the CPU."""
    devices: str = ""
    """Numbers of the GPUs that clips are made on, such as "0,1", each by a worker of its own; empty for one worker.

    NO_DEVICES for no worker: a cluster makes the clips."""
    slot: int = 0
    """Which of `devices` this process is for, counted from 0. Trainings and others that need one have the first."""
    more_loras: tuple[Path, ...] = ()
    """Further folders of LoRA files, such as ComfyUI's, which are only read."""

    keep_latents: bool = field(default_factory=lambda: os.environ.get(LATENTS_VARIABLE, "") != "no")
    """Keep the final latents beside each clip, a few MB, so that it can be exported with more than 8 bits."""

    enhancer: str = field(default_factory=lambda: os.environ.get(ENHANCER_VARIABLE, ""))
    """The instruction model that makes prompts richer: a folder, or a repository in the Hugging Face cache."""

    def __post_init__(self) -> None:
        """Raises UserError for an unknown device, and for GPUs that are no numbers or come twice."""
        numbers = self.device_numbers
        if not all(number.isascii() and number.isdigit() for number in numbers) or len(set(numbers)) < len(numbers):
            raise UserError(
                f"'{self.devices[:80]}' names no GPUs; write their numbers, each once, such as 0,1; or none."
            )
        if self.device not in ("", *DEVICES):
            raise UserError(
                f"{DEVICE_VARIABLE} is '{self.device[:80]}', which is no device; use {', '.join(DEVICES)}, "
                "or leave it unset for the accelerator of this machine."
            )

    @property
    def device_numbers(self) -> tuple[str, ...]:
        """One for each worker; empty where the device is left to torch."""
        return tuple(number.strip() for number in self.devices.split(",")) if self.devices and self.makes_clips else ()

    @property
    def makes_clips(self) -> bool:
        """Whether the queue's clips are made on this machine."""
        return self.devices != NO_DEVICES

    @property
    def slots(self) -> range:
        """One for each worker that the workspace may have at a time."""
        return range(max(len(self.device_numbers), 1))

    @property
    def database(self) -> Path:
        return self.workspace / "studio.sqlite3"

    @property
    def clips(self) -> Path:
        return self.workspace / "clips"

    @property
    def inputs(self) -> Path:
        """Normalised input images, named by the SHA-256 of their pixels."""
        return self.workspace / "inputs"

    @property
    def projects(self) -> Path:
        """A folder for each project."""
        return self.workspace / "projects"

    @property
    def own_presets(self) -> Path:
        """Styles that were saved from the page, beside those that ship."""
        return self.workspace / "presets"

    @property
    def datasets(self) -> Path:
        """Images and clips to train on, a folder for each dataset."""
        return self.workspace / "datasets"

    @property
    def trainings(self) -> Path:
        """A folder for each training: its state, the LoRAs of its checkpoints, its samples."""
        return self.workspace / "training"

    @property
    def previews(self) -> Path:
        return self.workspace / "previews"

    @property
    def exports(self) -> Path:
        """What the page exported, until it is deleted."""
        return self.workspace / "exports"

    @property
    def upscalers(self) -> Path:
        """Files of networks that enlarge frames, which people put there."""
        return self.models / "upscalers"

    @property
    def interpolators(self) -> Path:
        """Files of networks that make frames in between, which people put there."""
        return self.models / "interpolators"

    @property
    def preview_decoders(self) -> Path:
        """Files of small decoders for previews, which people put there."""
        return self.models / "previews"

    @property
    def cache(self) -> Path:
        """Files that can be computed again: prompt embeddings, preview colours."""
        return self.workspace / "cache"

    @property
    def checkpoints(self) -> Path:
        """Unfinished clips, one file per job, removed when the job ends."""
        return self.cache / "checkpoints"

    @property
    def imported(self) -> Path:
        """Specs of imported models, which are not in the registry, one file per model."""
        return self.workspace / "models"

    @property
    def lora_experts(self) -> Path:
        """Which expert people said that a LoRA is for, by its hash."""
        return self.workspace / "lora_experts.json"

    @property
    def logs(self) -> Path:
        return self.workspace / "logs"

    @property
    def job_logs(self) -> Path:
        """One log per job that did not finish."""
        return self.logs / "jobs"

    @property
    def written(self) -> tuple[Path, ...]:
        """The workspace's folders that must exist before anything is written."""
        return self.clips, self.inputs, self.previews, self.cache, self.logs, self.exports

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the studio reads and writes, which only the owner may see."""
        return self.workspace, self.models, self.loras, *self.more_loras, self.presets

    def make_folders(self) -> None:
        for folder in self.written:
            folder.mkdir(parents=True, exist_ok=True)
