"""Render the images of the page: `python docs/render_assets.py`.

The style thumbnails are frames of one scene that the demo model renders in every style; the example images are drawn by
the demo world's renderer, so that they come from outside the model.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported

# isort: split
import torch
from PIL import Image

from wan_pipeline.cli.progress_line import ProgressLine
from wan_pipeline.demo.scenes import CHANCES, Scenes, render
from wan_pipeline.demo.vocabulary import COLORS, MOTIONS, OBJECTS, PLACES
from wan_pipeline.engine.engine import Engine
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.create.card_styles import THUMBNAILS
from wan_pipeline.ui.create.examples import FOLDER

CARDS = ("natural", "golden-hour", "noir", "vintage", "pastel", "moonlit", "comic")
PROMPT, SEED, FRAME = "a red balloon flies up over green hills", 1, 16
PICTURES = {
    "boat": ("boat", "orange", "right", "sea", 3),
    "rocket": ("rocket", "red", "up", "snow", 5),
    "balloon": ("balloon", "purple", "up", "day sky", 2),
}


def main() -> None:
    for name, (thing, color, motion, place, seed) in PICTURES.items():
        draw(thing, color, motion, place, seed).save(FOLDER / f"{name}.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        cards(Settings(workspace=Path(folder)))


def cards(settings: Settings) -> None:
    """One frame of the same clip in each style."""
    settings.make_folders()
    with Studio(settings) as studio, Engine(settings) as engine, ProgressLine(sys.stderr) as observer:
        for card in CARDS:
            frames = engine.render(
                studio.requests.resolve(Draft(prompt=PROMPT, preset=card, seed=SEED)), observer
            ).frames
            picture = Image.fromarray(frames[FRAME]).resize((200, 120), Image.Resampling.LANCZOS)
            picture.save(THUMBNAILS / f"{card}.webp", quality=85)


def draw(thing: str, color: str, motion: str, place: str, seed: int) -> Image.Image:
    """The first frame of a clip of 33; `seed` decides clouds, waves and where the motion starts."""
    picks = (OBJECTS.index(thing), COLORS.index(color), MOTIONS.index(motion), PLACES.index(place), 0)
    chance = torch.rand(1, CHANCES, generator=torch.Generator().manual_seed(seed))
    pixels, _ = render(Scenes(*(torch.tensor([pick]) for pick in picks), chance), 320, 192, torch.tensor([0]), 33)
    return Image.fromarray((pixels[0, :, 0].permute(1, 2, 0).numpy() * 255).round().astype("uint8"))


if __name__ == "__main__":
    main()
