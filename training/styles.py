"""Datasets for the LoRAs that come with the demo model: stills and clips of its world in a look that it never saw.

    python -m training.styles dusk build/styles/dusk
    python -m wan_pipeline train --dataset build/styles/dusk --output demo-dusk --rank 8

The looks are functions of the pixels alone, so that anybody can tell how well one was learnt.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wan_pipeline.clips.encode import encode
from wan_pipeline.demo.captions import SceneWords, full_caption
from wan_pipeline.demo.scenes import Scenes, render, sample_scenes

WIDTH, HEIGHT, FRAMES, FPS = 320, 192, 33, 16
CLIP_FRAMES = 17
"""Of a whole clip: the demo model's have all of their motion in any length, so that a part of one would teach it to
move more slowly."""
LUMA = np.array((0.2126, 0.7152, 0.0722))
Pixels = NDArray[np.uint8]
"""(..., 3), sRGB."""

DUSK = ((38, 8, 84), (255, 196, 120))
"""Violet to peach."""
HEAT = ((10, 4, 40), (132, 20, 110), (238, 88, 40), (255, 236, 150))
"""Black, purple, orange, straw, as a thermal camera shows warmth."""
BLUEPRINT = ((14, 40, 110), (34, 84, 180), (226, 240, 255))
"""Ink on blue paper."""


def in_shades(*colors: tuple[int, int, int]) -> Callable[[Pixels], Pixels]:
    """A look that maps brightness to shades from the first colour to the last."""
    table = np.array(colors, np.float64)

    def look(pixels: Pixels) -> Pixels:
        brightness = pixels @ LUMA / 255
        points = np.linspace(0, 1, len(table))
        shades = [np.interp(brightness, points, table[:, channel]) for channel in range(3)]
        shown: Pixels = np.rint(np.stack(shades, axis=-1)).astype(np.uint8)
        return shown

    return look


LOOKS = {"dusk": in_shades(*DUSK), "heat": in_shades(*HEAT), "blueprint": in_shades(*BLUEPRINT)}


def write_dataset(folder: Path, look: Callable[[Pixels], Pixels], stills: int, clips: int = 0, seed: int = 0) -> Path:
    """Write stills and clips of random scenes in a look, with captions that do not name it. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = sample_scenes(stills + clips, torch.Generator().manual_seed(seed), styled=0.0)
    rng = random.Random(seed)
    for row in range(stills + clips):
        scene = scenes.select(torch.tensor([row]))
        if row < stills:
            (still,) = look(_draw(scene, torch.tensor([rng.randrange(FRAMES)]), FRAMES))
            Image.fromarray(still).save(folder / f"{row:03}.png")
        else:
            frames = look(_draw(scene, torch.arange(CLIP_FRAMES), CLIP_FRAMES))
            encode(frames, FPS, folder / f"{row:03}.mp4", None)
        (folder / f"{row:03}.txt").write_text(full_caption(_words(scene), rng), encoding="utf-8")
    return folder


def _draw(scene: Scenes, frames: torch.Tensor, whole: int) -> Pixels:
    """(frames, height, width, 3) of a clip of `whole` frames."""
    pixels, _ = render(scene, WIDTH, HEIGHT, frames, whole)
    return (pixels[0].permute(1, 2, 3, 0).numpy() * 255).round().astype(np.uint8)


def _words(scene: Scenes) -> SceneWords:
    values = (int(getattr(scene, name)[0]) for name in ("obj", "color", "motion", "place", "look"))
    return SceneWords(*values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("look", choices=LOOKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stills", type=int, default=32)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_dataset(options.folder, LOOKS[options.look], options.stills, options.clips, options.seed)


if __name__ == "__main__":
    main()
