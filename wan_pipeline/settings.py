"""Where things live. One value object, made once at the entry point and passed in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from wan_pipeline.errors import UserError

REPOSITORY = Path(__file__).resolve().parent.parent
DEVICE_VARIABLE = "WAN_STUDIO_DEVICE"
DEVICES = ("cpu", "cuda", "xpu", "mps")
"""By torch's names; ROCm is `cuda` there too."""


@dataclass(frozen=True)
class Settings:
    """Folders of one studio, how much of a clip may be lost with a worker, and how to use the device.

    `workspace` holds everything the studio writes; the other folders are read only.
    """

    workspace: Path = REPOSITORY / "workspace"
    presets: Path = REPOSITORY / "presets"
    loras: Path = REPOSITORY / "loras"
    models: Path = REPOSITORY / "models"
    """Model folders in diffusers layout, one per registry id, beside those in the Hugging Face cache."""
    demo_checkpoint: Path = REPOSITORY / "wan_pipeline" / "demo" / "checkpoint"
    """The bundled demo model; tests put a tiny one here."""
    checkpoint_seconds: float = 30.0
    """Denoising that may be lost with a worker: longer clips keep checkpoints. 0 keeps one after every step."""

    memory_limit: float = 0.0
    """GiB of the device's memory that may be used; 0 is all that is free."""
    plan: str = ""
    """A memory plan to keep to, in the words of `engine.plan`; empty: the quickest that fits."""
    compiled: bool = False
    """Compile the transformer's blocks: a minute at first, then quicker steps."""
    device: str = field(default_factory=lambda: os.environ.get(DEVICE_VARIABLE, ""))
    """One of DEVICES; empty: the accelerator where there is one, else the CPU."""

    def __post_init__(self) -> None:
        """Raises UserError for an unknown device."""
        if self.device not in ("", *DEVICES):
            raise UserError(
                f"{DEVICE_VARIABLE} is '{self.device[:80]}', which is no device; use {', '.join(DEVICES)}, "
                "or leave it unset for the accelerator of this machine."
            )

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
    def previews(self) -> Path:
        return self.workspace / "previews"

    @property
    def cache(self) -> Path:
        """What can be made again: prompt embeddings, preview colours."""
        return self.workspace / "cache"

    @property
    def checkpoints(self) -> Path:
        """Half-made clips, one file a job, to be removed with the job's end."""
        return self.cache / "checkpoints"

    @property
    def imported(self) -> Path:
        """What is known of models that the registry does not hold, one file a model."""
        return self.workspace / "models"

    @property
    def logs(self) -> Path:
        return self.workspace / "logs"

    @property
    def job_logs(self) -> Path:
        """One log for each job that did not end well."""
        return self.logs / "jobs"

    @property
    def written(self) -> tuple[Path, ...]:
        """The folders of the workspace."""
        return self.clips, self.inputs, self.previews, self.cache, self.logs

    def make_folders(self) -> None:
        for folder in self.written:
            folder.mkdir(parents=True, exist_ok=True)
