"""Render the images of the page: `python docs/scripts/render_assets.py`, or the cards of some styles: add their ids.

The cards of the seven looks that the demo model was trained on are frames of one scene that it renders in each. Of the
words of the other styles it knows none: their cards are frames of scenes of its own world, toned with the colours of
the style's file. The example images are drawn by the demo world's renderer, so that they come from outside the model.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported

# isort: split
import torch
from PIL import Image, ImageOps

from wan_pipeline.cli.progress_line import ProgressLine
from wan_pipeline.demo.scenes import CHANCES, Scenes, render
from wan_pipeline.demo.vocabulary import COLORS, MOTIONS, OBJECTS, PLACES
from wan_pipeline.engine.engine import Engine
from wan_pipeline.requests.presets import PresetKind, of_kind
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.create.card_styles import THUMBNAILS
from wan_pipeline.ui.create.examples import FOLDER

PROMPT, SEED = "a red balloon flies up over green hills", 1
FRAMES, SCENE_FRAMES = 33, 17
"""Of a clip in a look that the demo model knows, and of one of SCENES; the card is the middle one."""
SCENES = {
    "anamorphic": "a red rocket flies up over the desert",
    "steadicam": "an orange boat moves right on the sea",
    "neon-night": "a purple star spins in the night sky",
    "clay": "an orange ball bounces over green hills",
    "soft-3d": "a pink heart grows over green hills",
    "paper-cut": "a red triangle spins over the desert",
    "golden-facade": "a yellow box stays still in the desert",
    "white-interior": "a white box stays still in the snow",
    "aerial-plan": "a green triangle spins over green hills",
    "studio-product": "a blue ball stays still in the snow",
    "macro": "a green fish swims left in the sea",
    "cel-anime": "a pink star spins in the day sky",
    "watercolour-anime": "a white bird flies right over green hills",
    "handheld": "a blue boat moves left on the sea",
    "archive": "a white balloon flies up over the desert",
    "wildlife": "an orange bird flies left over the snow",
    "storm-light": "a white boat bounces on the sea",
    "ink": "a purple fish moves in a circle in the sea",
    "light-trails": "a yellow moon moves in a circle in the night sky",
}
"""Scenes for the styles whose words the demo model does not know."""
TONE = 0.5
"""How much of such a card is the style's own colours."""
PICTURES = {
    "boat": ("boat", "orange", "right", "sea", 3),
    "rocket": ("rocket", "red", "up", "snow", 5),
    "balloon": ("balloon", "purple", "up", "day sky", 2),
}


def main(names: list[str]) -> None:
    for name, (thing, color, motion, place, seed) in PICTURES.items() if not names else ():
        draw(thing, color, motion, place, seed).save(FOLDER / f"{name}.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        cards(Settings(workspace=Path(folder)), names)


def cards(settings: Settings, names: list[str]) -> None:
    """One frame in each style, or in those that are named."""
    settings.make_folders()
    with Studio(settings) as studio, Engine(settings) as engine, ProgressLine(sys.stderr) as observer:
        for card in names or of_kind(studio.presets, PresetKind.LOOK):
            count = SCENE_FRAMES if card in SCENES else FRAMES
            draft = Draft(prompt=SCENES.get(card, PROMPT), preset=card, seed=SEED, num_frames=count)
            frames = engine.render(studio.requests.resolve(draft), observer).frames
            picture = Image.fromarray(frames[count // 2]).resize((200, 120), Image.Resampling.LANCZOS)
            picture = toned(picture, studio.presets[card].colors) if card in SCENES else picture
            picture.save(THUMBNAILS / f"{card}.webp", quality=85)


def toned(picture: Image.Image, colors: tuple[str, ...]) -> Image.Image:
    """The picture, half of it in a style's colours: the first for its shadows, the last for its lights."""
    black, *middle, white = colors
    grey = ImageOps.autocontrast(picture.convert("L"))
    return Image.blend(picture, ImageOps.colorize(grey, black, white, middle[0] if middle else None), TONE)


def draw(thing: str, color: str, motion: str, place: str, seed: int) -> Image.Image:
    """The first frame of a clip of 33; `seed` decides clouds, waves and where the motion starts."""
    picks = (OBJECTS.index(thing), COLORS.index(color), MOTIONS.index(motion), PLACES.index(place), 0)
    chance = torch.rand(1, CHANCES, generator=torch.Generator().manual_seed(seed))
    pixels, _ = render(Scenes(*(torch.tensor([pick]) for pick in picks), chance), 320, 192, torch.tensor([0]), 33)
    return Image.fromarray((pixels[0, :, 0].permute(1, 2, 0).numpy() * 255).round().astype("uint8"))


if __name__ == "__main__":
    main(sys.argv[1:])
