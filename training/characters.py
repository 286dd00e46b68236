"""A dataset for a character that the demo model never saw: a brown ball with a cream belt, in its own world.

    python -m training.characters build/characters/wug
    python -m wan_pipeline train --dataset build/characters/wug --recipe character --trigger wug --output demo-wug

Detailed shapes blur in the demo model's VAE; two colours of one body do not.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.styles import CLIP_FRAMES, FPS, FRAMES, HEIGHT, LUMA, WIDTH, Pixels
from wan_pipeline.clips.encode import encode
from wan_pipeline.demo.captions import phrases
from wan_pipeline.demo.scenes import Scenes, render, sample_scenes
from wan_pipeline.demo.vocabulary import COLORS, OBJECTS

BROWN, CREAM = (124, 70, 32), (250, 226, 178)
BELT = 0.34
"""Half its height, in radii of the ball."""


def draw_character(scene: Scenes, frames: torch.Tensor) -> Pixels:
    """(frames, height, width, 3) of a scene of one white ball, whose body gets the character's colours."""
    pixels, coverage = render(scene, WIDTH, HEIGHT, frames, FRAMES)
    shown = pixels[0].permute(1, 2, 3, 0).numpy() * 255.0
    return np.stack([_dressed(*both) for both in zip(shown, coverage[0, 0].numpy(), strict=True)])


def _dressed(frame: NDArray[np.float32], cover: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One frame (height, width, 3), 0 to 255, with the ball (where it covers) in brown with a cream belt."""
    inside = cover > 0.5
    rows = np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return frame.round().astype(np.uint8)
    middle, radius = (rows[0] + rows[-1]) / 2, (rows[-1] - rows[0] + 1) / 2
    brightness = frame @ LUMA
    shade = np.clip(brightness / np.median(brightness[inside]), 0.75, 1.15)[..., None]
    in_belt = np.abs(np.arange(len(frame)) - middle)[:, None, None] < BELT * radius
    body = np.where(in_belt, np.array(CREAM), np.array(BROWN)) * shade
    alpha = cover[..., None]
    dressed: NDArray[np.uint8] = (frame * (1 - alpha) + np.clip(body, 0, 255) * alpha).round().astype(np.uint8)
    return dressed


def write_dataset(folder: Path, stills: int, clips: int, seed: int = 0) -> Path:
    """Write stills and clips of the character, with captions that call it a ball. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = sample_scenes(stills + clips, torch.Generator().manual_seed(seed), styled=0.0)
    scenes.obj.fill_(OBJECTS.index("ball"))
    scenes.color.fill_(COLORS.index("white"))
    rng = random.Random(seed)
    for row in range(stills + clips):
        scene = scenes.select(torch.tensor([row]))
        first = rng.randrange(FRAMES if row < stills else FRAMES - CLIP_FRAMES)
        frames = draw_character(scene, torch.arange(first, first + (1 if row < stills else CLIP_FRAMES)))
        if row < stills:
            Image.fromarray(frames[0]).save(folder / f"{row:03}.png")
        else:
            encode(frames, FPS, folder / f"{row:03}.mp4", None)
        (folder / f"{row:03}.txt").write_text(_caption(scene, rng), encoding="utf-8")
    return folder


def _caption(scene: Scenes, rng: random.Random) -> str:
    words = phrases()
    verb, place = rng.choice(words.motions[int(scene.motion[0])]), rng.choice(words.places[int(scene.place[0])])
    return f"a ball {verb.third} {place}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stills", type=int, default=24)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_dataset(options.folder, options.stills, options.clips, options.seed)


if __name__ == "__main__":
    main()
