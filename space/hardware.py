"""What the Hub runs Spaces on, and which torch holds there."""

from __future__ import annotations

from dataclasses import dataclass

PYTHON = "3.12"
"""The newest that ZeroGPU has."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@dataclass(frozen=True)
class Hardware:
    """One kind of hardware that a Space may be made for."""

    name: str
    flavor: str
    """The Hub's word for it."""
    torch: str
    """The version; "{pinned}" is that of requirements.txt."""
    options: tuple[str, ...] = ()
    """Lines for pip before the requirements."""
    added: tuple[str, ...] = ()
    """Requirements beside those of requirements.txt."""


HARDWARE = {
    hardware.name: hardware
    for hardware in (
        # PyPI's torch for Linux brings gigabytes of CUDA, which a Space without a GPU has no use for.
        Hardware("cpu-basic", "cpu-basic", "{pinned}+cpu", options=(f"--extra-index-url {CPU_INDEX}",)),
        # ZeroGPU has torch 2.8 to 2.11. `spaces` belongs to the Hub's servers, so the newest one is right.
        Hardware("zerogpu", "zero-a10g", "2.11.0", added=("spaces>=0.51.3",)),
    )
}
