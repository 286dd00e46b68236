"""Signed distances of plane shapes: negative inside (I. Quilez, "2D distance functions",
iquilezles.org/articles/distfunctions2d). Coordinates and distances are (B, T, H, W), with v pointing down.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def circle(u: Tensor, v: Tensor, cx: float, cy: float, radius: float) -> Tensor:
    return torch.sqrt((u - cx) ** 2 + (v - cy) ** 2 + 1e-9) - radius


def ellipse(u: Tensor, v: Tensor, cx: float, cy: float, rx: float, ry: float | Tensor) -> Tensor:
    """First-order distance to an ellipse."""
    k1 = torch.sqrt(((u - cx) / rx) ** 2 + ((v - cy) / ry) ** 2 + 1e-9)
    k2 = torch.sqrt(((u - cx) / (rx * rx)) ** 2 + ((v - cy) / (ry * ry)) ** 2 + 1e-9)
    return k1 * (k1 - 1) / k2


def box(u: Tensor, v: Tensor, cx: float, cy: float, half_u: float, half_v: float, radius: float = 0.0) -> Tensor:
    qu, qv = (u - cx).abs() - half_u + radius, (v - cy).abs() - half_v + radius
    outside = torch.sqrt(qu.clamp(min=0) ** 2 + qv.clamp(min=0) ** 2 + 1e-9)
    return outside + torch.maximum(qu, qv).clamp(max=0) - radius


def polygon(u: Tensor, v: Tensor, corners: list[tuple[float, float]], radius: float = 0.0) -> Tensor:
    """A convex polygon, corners clockwise on screen; distances inside are exact, corners are rounded by `radius`."""
    distance = torch.full_like(u, -1e9)
    for (au, av), (bu, bv) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(bu - au, bv - av)
        distance = torch.maximum(distance, ((u - au) * (bv - av) - (v - av) * (bu - au)) / length)
    return distance - radius


def star(u: Tensor, v: Tensor, points: int, inner: float, outer: float) -> tuple[Tensor, Tensor]:
    """A star and, for its facets, the side (-1 or 1) of each arm."""
    step = math.pi / points
    angle = torch.atan2(u, -v)
    folded = torch.remainder(angle + step, 2 * step) - step
    radius = torch.sqrt(u * u + v * v + 1e-9)
    a, b = radius * torch.sin(folded.abs()), radius * torch.cos(folded)
    iu, iv = inner * math.sin(step), inner * math.cos(step)
    length = math.hypot(iu, outer - iv)
    return (a * (outer - iv) + (b - outer) * iu) / length, torch.sign(folded)
