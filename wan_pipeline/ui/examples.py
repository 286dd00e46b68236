"""What the page comes with, so that the first click works: prompts to click, and two pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"

PROMPTS = (
    "A red ball bounces over green hills",
    "A white boat moves right on the sea",
    "A purple balloon moves up in a day sky",
    "A yellow star spins in the night sky",
    "A pink fish circles in the sea",
    "A blue rocket moves up over the desert",
)


@dataclass(frozen=True)
class Picture:
    """A first frame and what may happen to it."""

    title: str
    file: str
    prompt: str

    @property
    def path(self) -> Path:
        return ASSETS / "examples" / self.file


PICTURES = (
    Picture("Boat", "boat.png", "An orange boat moves right on the sea"),
    Picture("Rocket", "rocket.png", "A red rocket moves up over the snow"),
    Picture("Balloon", "balloon.png", "A purple balloon moves up in a day sky"),
)
