"""What a clip was made from and with, beside its request: where two of these are equal, so are the frames. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

UNLIKELY = frozenset({"app_commit", "driver", "moviepy"})
"""Entries of the environment that are another after every update, and hardly ever change a frame."""
SETUP = frozenset({"attention", "threads", "tf32", "strict"})
"""Entries that deterministic mode sets. Receipts call the mode itself "strict"."""


@dataclass(frozen=True)
class Provenance:
    """Hashes are SHA-256 in hex, of whole files."""

    model: str
    """The registry's id."""
    revision: str | None = None
    """The commit of the model's repository, where its folder tells."""
    model_files: dict[str, str] = field(default_factory=dict)
    """Hash of each weight file, by its name in the model's folder."""
    loras: dict[str, str] = field(default_factory=dict)
    """Hash of each LoRA file, by the name in the request, which also holds their order and weights."""
    image: str | None = None
    """Hash of the input image's size and pixels, as `ingest` keeps them."""
    plan: str = ""
    """The memory plan."""
    environment: dict[str, str] = field(default_factory=dict)
    """Versions, hardware, and how the computing was set up."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def differences(self, now: Provenance, but: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """What is another now and may change frames, one sentence each, the likeliest cause first.

        Entries of the environment named in `but` are left out, and so is what the older one does not tell.
        """
        names = sorted(self.environment.keys() - but, key=lambda name: (name in UNLIKELY, name))
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
