"""Prompts to click and pictures to start from, so that the first click makes a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "pictures"

PROMPTS = {
    "Bouncing ball": "A red ball bounces over green hills",
    "Sailing boat": "A white boat moves right on the sea",
    "Rising balloon": "A purple balloon moves up in a day sky",
    "Spinning star": "A yellow star spins in the night sky",
    "Fish in circles": "A pink fish circles in the sea",
    "Rocket": "A blue rocket moves up over the desert",
}
"""Labels of the buttons below the prompt, and the prompt that each enters. The form starts with the first one."""


@dataclass(frozen=True)
class Picture:
    """A first frame, and a prompt for what happens next."""

    title: str
    file: str
    prompt: str

    @property
    def path(self) -> Path:
        return FOLDER / self.file


PICTURES = (
    Picture("Boat", "boat.png", "An orange boat moves right on the sea"),
    Picture("Rocket", "rocket.png", "A red rocket moves up over the snow"),
    Picture("Balloon", "balloon.png", "A purple balloon moves up in a day sky"),
)
"""The image form starts with the first one."""


def is_example(prompt: str) -> bool:
    """Whether a prompt is one of these, and so none that a person has typed."""
    return prompt.strip() in (*PROMPTS.values(), *(picture.prompt for picture in PICTURES))
