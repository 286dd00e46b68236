"""Classify object, colour, motion and place of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from training.judge.color import color_of
from training.judge.motion import SEEN, motion_of
from training.judge.nets import HEIGHT, WIDTH, MaskNet, ObjectNet, crop, track_of
from training.judge.place import place_of

WEIGHTS = Path(__file__).with_name("weights.safetensors")


@dataclass(frozen=True)
class Verdict:
    """Indices into `demo.vocabulary`; None where no object was found."""

    obj: int | None
    color: int | None
    motion: int | None
    place: int


class Judge:
    """Classifies clips of any size; they are resized to 160x96, half the demo model's default size."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        tensors = {name: value.float() for name, value in load_file(weights).items()}
        self._finder, self._namer = MaskNet().eval(), ObjectNet().eval()
        for prefix, net in (("finder.", self._finder), ("namer.", self._namer)):
            state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            net.load_state_dict(state)
        self._places = tensors["places"]

    @torch.inference_mode()
    def judge(self, frames: NDArray[np.uint8]) -> Verdict:
        """Classify a clip, uint8 (T, H, W, 3)."""
        pixels = to_pixels(frames)
        mask = self.find(pixels)
        track = track_of(mask)
        return Verdict(
            obj=self._name(pixels, mask, track),
            color=color_of(pixels, mask),
            motion=motion_of(pixels, mask, track),
            place=place_of(pixels, mask, self._places),
        )

    def find(self, pixels: Tensor) -> Tensor:
        """Return the object's coverage in each frame, (T, 1, 48, 80) in 0..1."""
        mask: Tensor = self._finder(pixels).sigmoid()
        return mask

    def _name(self, pixels: Tensor, mask: Tensor, track: Tensor) -> int | None:
        """Return the class of most likelihood over all frames in which an object was found."""
        seen = track[:, 3] > SEEN
        if not bool(seen.any()):
            return None
        votes = self._namer(crop(pixels[seen], mask[seen], track[seen])).log_softmax(1)
        return int(votes.mean(0).argmax())


def to_pixels(frames: NDArray[np.uint8]) -> Tensor:
    """Resize uint8 (T, H, W, 3) to float32 (T, 3, 96, 160) in 0..1."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(pixels, (HEIGHT, WIDTH), mode="area")
