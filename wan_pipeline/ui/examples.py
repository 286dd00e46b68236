"""What the page comes with, so that the first click works: prompts to click, and two pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"

PROMPTS = {
    "Bouncing ball": "A red ball bounces over green hills",
    "Sailing boat": "A white boat moves right on the sea",
    "Rising balloon": "A purple balloon moves up in a day sky",
    "Spinning star": "A yellow star spins in the night sky",
    "Fish in circles": "A pink fish circles in the sea",
    "Rocket": "A blue rocket moves up over the desert",
}
"""What a chip says, and the prompt that a click on it enters. The first one stands in the form from the start."""


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
