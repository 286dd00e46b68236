"""The twelve objects of the demo world, as layers of signed distances.

Drawers use the object's own coordinates: its radius is about 1, and y points down. A drawer returns layers, bottom
first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wan_pipeline.demo.distances import box, circle, ellipse, polygon, star


@dataclass(frozen=True)
class Layer:
    """One part of an object: `tone` is 1 for the body colour, 2 for white and 0 for black; or a fixed `rgb`."""

    distance: Tensor
    tone: float | Tensor = 1.0
    rgb: tuple[float, float, float] | None = None
    rounded: float = 0.55
    """Strength of the shading as a rounded body, 0..1."""


Drawer = Callable[[Tensor, Tensor, Tensor], list[Layer]]
INK = (0.10, 0.10, 0.14)
WHITE = (0.98, 0.98, 0.98)


def _ball(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    body = circle(u, v, 0, 0, 1.0)
    band = torch.maximum(body + 0.03, ellipse(u, v, 0, 0, 0.36, 0.98))
    cap = torch.maximum(body + 0.03, v + 0.66)
    dot = circle(u, v, 0.0, -0.80, 0.13)
    return [Layer(body, rounded=0.9), Layer(band, 1.42, rounded=0.9), Layer(cap, 0.80, rounded=0.9), Layer(dot, 1.7)]


def _crate(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    body = box(u, v, 0, 0, 0.86, 0.86, 0.10)
    lid = box(u, v, 0, -0.62, 0.92, 0.26, 0.08)
    ribbon = box(u, v, 0, 0.05, 0.16, 0.80)
    left = ellipse(0.8 * u + 0.5 * v, 0.8 * v - 0.5 * u, -0.70, -0.72, 0.30, 0.17)
    right = ellipse(0.8 * u - 0.5 * v, 0.8 * v + 0.5 * u, 0.70, -0.72, 0.30, 0.17)
    return [
        Layer(body),
        Layer(lid, 0.86),
        Layer(ribbon, 1.5),
        Layer(torch.minimum(left, right), 1.45),
    ]


def _triangle(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    body = polygon(u, v, [(0.0, -0.92), (0.92, 0.70), (-0.92, 0.70)], 0.08)
    inner = polygon(u, v, [(0.0, -0.34), (0.44, 0.42), (-0.44, 0.42)], 0.02)
    return [Layer(body), Layer(inner, 1.42), Layer(circle(u, v, 0, -0.62, 0.10), 0.6)]


def _pointed_star(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    body, side = star(u, v, 5, 0.52, 1.12)
    facet = torch.where(side > 0, 0.86, 1.12)
    return [Layer(body - 0.05, 0.92), Layer(body + 0.02, facet, rounded=0.35)]


def _heart(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    a, b = u.abs(), 0.55 - v * 0.92
    a, b = a * 0.72, b * 0.72 - 0.02
    lobe = torch.sqrt((a - 0.25) ** 2 + (b - 0.75) ** 2 + 1e-9) - 0.3535
    tip = 0.5 * (a + b).clamp(min=0)
    lower = torch.minimum(torch.sqrt(a**2 + (b - 1.0) ** 2 + 1e-9), torch.sqrt((a - tip) ** 2 + (b - tip) ** 2 + 1e-9))
    body = torch.where(a + b > 1.0, lobe, lower * torch.sign(a - b)) / 0.72
    shine = ellipse(0.8 * u + 0.6 * v, 0.8 * v - 0.6 * u, -0.60, -0.05, 0.13, 0.24)
    return [Layer(body - 0.03, rounded=0.8), Layer(shine, 1.75, rounded=0.0)]


def _sun(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    rays, _ = star(u, v, 12, 0.70, 1.16)
    eyes = torch.minimum(ellipse(u, v, -0.20, -0.12, 0.07, 0.11), ellipse(u, v, 0.20, -0.12, 0.07, 0.11))
    smile = torch.maximum(circle(u, v, 0, 0.04, 0.32).abs() - 0.045, -(v - 0.14))
    cheeks = torch.minimum(circle(u, v, -0.36, 0.12, 0.10), circle(u, v, 0.36, 0.12, 0.10))
    return [
        Layer(rays, 0.88, rounded=0.2),
        Layer(circle(u, v, 0, 0, 0.64), 1.08, rounded=0.6),
        Layer(cheeks, 0.86, rounded=0.0),
        Layer(eyes, rgb=INK, rounded=0.0),
        Layer(smile, rgb=INK, rounded=0.0),
    ]


def _moon(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    disc = circle(u, v, 0, 0, 1.0)
    body = torch.maximum(disc, -circle(u, v, 0.52, -0.18, 0.82))
    craters = torch.minimum(circle(u, v, -0.58, 0.20, 0.15), circle(u, v, -0.18, 0.74, 0.11))
    craters = torch.minimum(craters, circle(u, v, -0.62, -0.34, 0.09))
    return [Layer(body, rounded=0.7), Layer(torch.maximum(craters, body + 0.03), 0.78, rounded=0.1)]


def _boat(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    hull = polygon(u, v, [(-1.02, 0.34), (1.08, 0.34), (0.66, 0.86), (-0.66, 0.86)], 0.05)
    stripe = torch.maximum(hull + 0.04, (v - 0.46).abs() - 0.055)
    mast = box(u, v, 0.02, -0.36, 0.045, 0.74)
    sail = polygon(u, v, [(0.12, -1.0), (0.86, 0.20), (0.12, 0.20)], 0.03)
    jib = polygon(u, v, [(-0.08, -0.72), (-0.08, 0.20), (-0.66, 0.20)], 0.03)
    return [
        Layer(mast, rgb=(0.36, 0.24, 0.16), rounded=0.2),
        Layer(sail, 1.0, rounded=0.5),
        Layer(jib, 1.25, rounded=0.5),
        Layer(hull, 0.82),
        Layer(stripe, rgb=WHITE, rounded=0.2),
    ]


def _bird(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    flap = torch.sin(2 * math.pi * 2.2 * t)
    body = ellipse(u, v, -0.05, 0.14, 0.72, 0.46)
    head = circle(u, v, 0.56, -0.26, 0.34)
    tail = polygon(u, v, [(-1.12, -0.22), (-0.50, 0.0), (-0.56, 0.32), (-1.10, 0.22)], 0.03)
    beak = polygon(u, v, [(0.84, -0.36), (1.20, -0.18), (0.82, -0.10)], 0.02)
    du, dv = u + 0.16 + 0.12 * flap, v - 0.14 + 0.31 * flap  # the wing goes up and down with its tip behind
    wing = ellipse(du, dv, 0.0, 0.0, 0.34, 0.16 + 0.36 * flap.abs())
    eye = circle(u, v, 0.64, -0.32, 0.075)
    return [
        Layer(tail, 0.78),
        Layer(beak, rgb=(0.98, 0.62, 0.12), rounded=0.3),
        Layer(torch.minimum(body, head), rounded=0.8),
        Layer(ellipse(u, v, 0.05, 0.34, 0.44, 0.20), 1.4, rounded=0.2),
        Layer(wing, 0.74, rounded=0.5),
        Layer(circle(u, v, 0.62, -0.32, 0.13), rgb=WHITE, rounded=0.0),
        Layer(eye, rgb=INK, rounded=0.0),
    ]


def _balloon(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    body = ellipse(u, v, 0, -0.34, 0.68, 0.80)
    knot = polygon(u, v, [(0.0, 0.40), (0.14, 0.58), (-0.14, 0.58)], 0.02)
    sway = 0.09 * torch.sin(5.0 * v - 3.0 * t) * (v - 0.5).clamp(0, 1)
    string = torch.maximum((u - sway).abs() - 0.035, torch.maximum(0.52 - v, v - 1.28))
    shine = ellipse(0.9 * u + 0.44 * v, 0.9 * v - 0.44 * u, -0.50, -0.42, 0.12, 0.25)
    return [
        Layer(string, rgb=(0.35, 0.32, 0.32), rounded=0.0),
        Layer(knot, 0.75),
        Layer(body, rounded=0.9),
        Layer(shine, 1.75, rounded=0.0),
    ]


def _fish(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    wag = 0.22 * torch.sin(2 * math.pi * 1.8 * t) * (-u - 0.3).clamp(min=0)
    w = v + wag
    body = ellipse(u, w, 0.14, 0, 0.80, 0.52)
    tail = polygon(u, w, [(-1.10, -0.56), (-0.44, -0.02), (-0.44, 0.02), (-1.10, 0.56)], 0.05)
    fin = polygon(u, w, [(-0.30, -0.78), (0.36, -0.46), (-0.24, -0.36)], 0.05)
    stripe = torch.maximum(body + 0.03, torch.minimum((u + 0.16).abs(), (u - 0.18).abs()) - 0.075)
    side = polygon(u, w, [(0.18, 0.06), (-0.16, 0.34), (-0.20, 0.10)], 0.04)
    return [
        Layer(torch.minimum(tail, fin), 0.78),
        Layer(body, rounded=0.8),
        Layer(stripe, 1.45, rounded=0.6),
        Layer(side, 0.72, rounded=0.3),
        Layer(circle(u, w, 0.58, -0.12, 0.15), rgb=WHITE, rounded=0.0),
        Layer(circle(u, w, 0.62, -0.12, 0.08), rgb=INK, rounded=0.0),
    ]


def _rocket(u: Tensor, v: Tensor, t: Tensor) -> list[Layer]:
    flicker = 0.12 * torch.sin(31 * t)
    flame = ellipse(u, v, 0, 0.86, 0.22, 0.36 + flicker)
    core = ellipse(u, v, 0, 0.80, 0.11, 0.22 + 0.6 * flicker)
    narrow = torch.where(v < 0, 0.46 * torch.sqrt((1 - (v / 1.12) ** 2).clamp(min=0)), 0.46 - 0.10 * v)
    body = torch.maximum(torch.maximum(u.abs() - narrow, v - 0.66), -v - 1.12) * 0.9
    nose = torch.maximum(body + 0.01, v + 0.52)
    fins = polygon(u.abs(), v, [(0.38, 0.10), (0.88, 0.62), (0.84, 0.92), (0.34, 0.62)], 0.03)
    return [
        Layer(flame, rgb=(1.0, 0.60, 0.12), rounded=0.0),
        Layer(core, rgb=(1.0, 0.94, 0.62), rounded=0.0),
        Layer(fins, 0.70),
        Layer(body, rounded=0.8),
        Layer(nose, 0.70, rounded=0.8),
        Layer(circle(u, v, 0, -0.16, 0.24), rgb=WHITE, rounded=0.2),
        Layer(circle(u, v, 0, -0.16, 0.17), rgb=(0.36, 0.62, 0.86), rounded=0.6),
    ]


DRAWERS: tuple[Drawer, ...] = (
    _ball,
    _crate,
    _triangle,
    _pointed_star,
    _heart,
    _sun,
    _moon,
    _boat,
    _bird,
    _balloon,
    _fish,
    _rocket,
)
"""In the order of `vocabulary.OBJECTS`."""
