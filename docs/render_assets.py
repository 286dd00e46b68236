"""Draw the pictures that the page comes with: `python docs/render_assets.py`.

The style cards show one scene in every look, and the example pictures are first frames, all from the demo's renderer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wan_pipeline.demo.scenes import CHANCES, Scenes, render
from wan_pipeline.demo.vocabulary import COLORS, LOOKS, MOTIONS, OBJECTS, PLACES
from wan_pipeline.ui.examples import ASSETS

CARDS = dict(zip(("natural", "golden-hour", "noir", "vintage", "pastel", "moonlit", "comic"), LOOKS, strict=True))
PICTURES = {
    "boat": ("boat", "orange", "right", "sea", 3),
    "rocket": ("rocket", "red", "up", "snow", 5),
    "balloon": ("balloon", "purple", "up", "day sky", 2),
}


def main() -> None:
    for name, (thing, color, motion, place, seed) in PICTURES.items():
        draw(thing, color, motion, place, "natural", seed, frame=0, size=(320, 192)).save(
            ASSETS / "examples" / f"{name}.png", optimize=True
        )
    for card, look in CARDS.items():
        picture = draw("balloon", "red", "up", "green hills", look, seed=4, frame=14, size=(640, 384))
        picture.resize((200, 120), Image.Resampling.LANCZOS).save(ASSETS / "presets" / f"{card}.webp", quality=80)


def draw(
    thing: str, color: str, motion: str, place: str, look: str, seed: int, frame: int, size: tuple[int, int]
) -> Image.Image:
    """One frame of a clip of 33; `seed` decides clouds, waves and where the motion starts."""
    picks = (OBJECTS.index(thing), COLORS.index(color), MOTIONS.index(motion), PLACES.index(place), LOOKS.index(look))
    chance = torch.rand(1, CHANCES, generator=torch.Generator().manual_seed(seed))
    pixels, _ = render(Scenes(*(torch.tensor([pick]) for pick in picks), chance), *size, torch.tensor([frame]), 33)
    return Image.fromarray((pixels[0, :, 0].permute(1, 2, 0).numpy() * 255).round().astype("uint8"))


if __name__ == "__main__":
    main()
