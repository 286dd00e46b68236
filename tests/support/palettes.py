"""A style that a test can measure: every picture of the demo world in shades between two colours."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wan_pipeline.demo.captions import SceneWords, full_caption
from wan_pipeline.demo.scenes import Scenes, render, sample_scenes

DARK, LIGHT = np.array((38.0, 8.0, 84.0)), np.array((255.0, 196.0, 120.0))
"""Violet to peach, sRGB."""
LUMA = np.array((0.2126, 0.7152, 0.0722))


def in_palette(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels (..., 3) by their brightness in shades from DARK to LIGHT."""
    brightness = (frames @ LUMA / 255)[..., None]
    return np.rint(DARK + brightness * (LIGHT - DARK)).astype(np.uint8)


def distance(frames: NDArray[np.uint8]) -> float:
    """Mean distance in RGB of pixels (..., 3) from the line between the two colours."""
    axis = (LIGHT - DARK) / np.linalg.norm(LIGHT - DARK)
    from_dark = frames.astype(np.float64) - DARK
    along = (from_dark @ axis)[..., None] * axis
    return float(np.linalg.norm(from_dark - along, axis=-1).mean())


def motion(frames: NDArray[np.uint8]) -> float:
    """Mean squared difference between one frame and the next, of pixels (frames, height, width, 3)."""
    return float(np.square(np.diff(frames.astype(np.float64), axis=0)).mean())


def write_stills(folder: Path, count: int, seed: int = 0) -> Path:
    """Pictures of the demo world in the palette, with captions. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = sample_scenes(count, torch.Generator().manual_seed(seed), styled=0.0)
    rng = random.Random(seed)
    for row in range(count):
        scene = scenes.select(torch.tensor([row]))
        moment = torch.tensor([rng.randrange(33)])
        pixels, _ = render(scene, 320, 192, moment, 33)
        frame = (pixels[0, :, 0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(in_palette(frame)).save(folder / f"{row:03}.png")
        (folder / f"{row:03}.txt").write_text(full_caption(_words(scene), rng), encoding="utf-8")
    return folder


def _words(scene: Scenes) -> SceneWords:
    values = (int(getattr(scene, name)[0]) for name in ("obj", "color", "motion", "place", "look"))
    return SceneWords(*values)
