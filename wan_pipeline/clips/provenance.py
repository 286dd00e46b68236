"""What a clip was made from and with, beside its request: if two of these are equal, so are the frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field

from wan_pipeline.lora.applied import AppliedLora

UNLIKELY = frozenset({"app_commit", "driver", "moviepy"})
"""Entries of the environment that change with every update, and hardly ever change a frame."""
SETUP = frozenset({"attention", "threads", "tf32", "strict"})
"""Entries that deterministic mode sets. Receipts call the mode itself "strict"."""


@dataclass(frozen=True)
class Passes:
    """Passes of the transformers in a clip with a step cache."""

    asked: Annotated[int, Field(ge=0, le=10**6)]
    computed: Annotated[int, Field(ge=0, le=10**6)]
    """The others were taken from the cache."""

    @property
    def saved(self) -> int:
        return self.asked - self.computed


@dataclass(frozen=True)
class Provenance:
    """Model, files and environment of a rendering. Hashes are SHA-256 in hex."""

    model: str
    """The model's id."""
    revision: str | None = None
    """Commit of the model's repository, if known."""
    model_files: dict[str, str] = field(default_factory=dict)
    """Hash of each weight file, by its name in the model's folder."""
    loras: dict[str, str] = field(default_factory=dict)
    """Hash of each LoRA file, by name; order and weights are in the request."""
    image: str | None = None
    """Hash of the input image's size and pixels, as `ingest` saves it."""
    plan: str = ""
    """The memory plan as text."""
    environment: dict[str, str] = field(default_factory=dict)
    """Versions, hardware and settings of the libraries."""
    applied_loras: tuple[AppliedLora, ...] = ()
    """How many keys of each LoRA's files the model took; receipts of older versions hold none of it."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON. A clip without LoRAs says nothing of them."""
        return {name: value for name, value in asdict(self).items() if name != "applied_loras" or value}

    def differences(self, now: Provenance, ignore: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """One sentence for each difference that may change frames, the likeliest cause first.

        Left out are the environment's entries in `ignore`, and what this, the older one, does not hold.
        """
        names = sorted(self.environment.keys() - ignore, key=lambda name: (name in UNLIKELY, name))
        return (
            *_changes("LoRA", self.loras, now.loras, "is another file now", "is not here now"),
            *_changes("Model file", self.model_files, now.model_files, "is another file now", "is not here now"),
            *(["The input image is another now."] if self.image and self.image != now.image else []),
            *([f"Memory plan: {self.plan} then, {now.plan} now."] if self.plan and self.plan != now.plan else []),
            *(
                f"{name.replace('_', ' ').capitalize()}: {self.environment[name]} then, "
                f"{now.environment.get(name, 'unknown')} now."
                for name in names
                if self.environment[name] != now.environment.get(name)
            ),
        )


def _changes(kind: str, then: dict[str, str], now: dict[str, str], changed: str, gone: str) -> Iterable[str]:
    for name, sha256 in then.items():
        if name not in now:
            yield f"{kind} '{name}' {gone}."
        elif now[name] != sha256:
            yield f"{kind} '{name}' {changed}."
