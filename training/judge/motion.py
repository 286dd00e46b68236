"""Classify a clip's motion from the object's track: its centre, its size and its rotation.

Lengths are in units of the frame's height.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.judge.nets import sample
from wan_pipeline.demo.motions import BOUNCE, CIRCLE, DOWN, GROW, LEFT, RIGHT, SHRINK, SPIN, STILL, UP

RESIZED = 0.6
"""Change of log area (a factor of 1.8) above which an object grows or shrinks; rendered ones reach 3.2."""
SEEN = 0.004
"""Smallest area at which an object counts as found; the smallest rendered one has 0.007."""
TRAVELLED = 0.15
"""Distance along one axis above which an object moves; rendered ones move 0.21 or more, spinning ones sway 0.12."""
TURNED = math.pi
"""Angle above which an object spins, or its path is a circle; rendered ones turn at least once."""
AGREEMENT = 0.4
"""Share of an object's changes that a rotation must explain; rendered spins reach 0.86, flames and noise 0.05."""
ANGLES = 120


@dataclass(frozen=True)
class Measures:
    """The measurements that the rules use."""

    resized: float
    """Natural logarithm of the area at the end divided by that at the start."""
    across: float
    """Net distance to the right along the straight line fitted to the path."""
    down: float
    width: float
    """Extent of the path."""
    height: float
    straightness: float
    """Net distance divided by the length of the path."""
    circled: float
    """Angle of the path around its centre, in radians."""
    turned: float
    """Angle of the object around its own centre, in radians."""


def motion_of(pixels: Tensor, mask: Tensor, track: Tensor) -> int | None:
    """Return the motion's index from frames (T, 3, H, W), masks (T, 1, h, w) and track (T, 4), or None without an
    object."""
    seen = track[:, 3] > SEEN
    if int(seen.sum()) < max(3, len(seen) // 2):
        return None
    return decide(measure(pixels, mask, track, seen))


def decide(m: Measures) -> int:
    """Apply the rules, the most reliable first."""
    if abs(m.resized) > RESIZED:
        return GROW if m.resized > 0 else SHRINK
    if abs(m.circled) > TURNED and min(m.width, m.height) > 0.2:
        return CIRCLE
    if m.height > 0.16 and m.height > 1.5 * m.width and m.straightness < 0.6:
        return BOUNCE
    if max(abs(m.across), abs(m.down)) > TRAVELLED:
        if abs(m.across) > abs(m.down):
            return RIGHT if m.across > 0 else LEFT
        return DOWN if m.down > 0 else UP
    return SPIN if abs(m.turned) > TURNED else STILL


def measure(pixels: Tensor, mask: Tensor, track: Tensor, seen: Tensor) -> Measures:
    path = _smooth(track[seen, :2])
    area = track[seen, 3].log()
    time = torch.linspace(-0.5, 0.5, len(seen))[seen]
    net = _slope(path, time)
    length = float((path[1:] - path[:-1]).norm(dim=1).sum())
    extent = path.amax(0) - path.amin(0)
    return Measures(
        resized=float(_slope(area.unsqueeze(1), time)),
        across=float(net[0]),
        down=float(net[1]),
        width=float(extent[0]),
        height=float(extent[1]),
        straightness=float((path[-1] - path[0]).norm()) / max(length, 1e-6),
        circled=_angle_around(path),
        turned=_turning(pixels[seen], mask[seen], track[seen]),
    )


def _smooth(path: Tensor) -> Tensor:
    """Median of three neighbours, so that a single frame without the object has no effect."""
    wide = torch.cat([path[:1], path, path[-1:]])
    return torch.stack([wide[:-2], wide[1:-1], wide[2:]]).median(0).values


def _slope(values: Tensor, time: Tensor) -> Tensor:
    """Change over the whole clip of the least-squares line through values (T, C)."""
    centred = time - time.mean()
    return (centred.unsqueeze(1) * values).sum(0) / centred.square().sum()


def _angle_around(path: Tensor) -> float:
    """Total angle of the path around the centre of its extent, in radians."""
    arm = path - (path.amax(0) + path.amin(0)) / 2
    angle = torch.atan2(arm[:, 1], arm[:, 0])
    step = torch.remainder(angle[1:] - angle[:-1] + math.pi, 2 * math.pi) - math.pi
    return float(step.sum())


def _turning(pixels: Tensor, mask: Tensor, track: Tensor) -> float:
    """Total rotation of the object in radians, from the constant rate that best maps each frame to the next.

    Shading does not rotate with the object, so the mean over time is subtracted first.
    """
    rings = _rings(pixels, mask, track)
    rings = rings - rings.mean(0)
    before, after = torch.fft.rfft(rings[:-1]), torch.fft.rfft(rings[1:])
    match = torch.fft.irfft(before.conj() * after, ANGLES).sum((0, 1, 2))
    reach = ANGLES // 12  # at most 30 degrees a frame
    rates = torch.arange(-reach, reach + 1)
    best = int(rates[match[rates].argmax()])
    if float(match[best]) < AGREEMENT * float(rings.square().sum()):
        return 0.0
    return best * 2 * math.pi / ANGLES * (len(rings) - 1)


def _rings(pixels: Tensor, mask: Tensor, track: Tensor) -> Tensor:
    """Sample colours and mask along circles around the object's centre, (T, 4, radii, ANGLES)."""
    radius = torch.linspace(0.3, 1.6, 8).view(-1, 1)
    angle = torch.arange(ANGLES).view(1, -1) * (2 * math.pi / ANGLES)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    cover = F.interpolate(mask, pixels.shape[-2:], mode="bilinear")
    return sample(torch.cat([pixels * cover, cover], 1), points, track) * radius.sqrt()
