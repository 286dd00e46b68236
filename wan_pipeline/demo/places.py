"""The six places of the demo world: sky, ground and weather behind the object.

Pixels are float32 (B, T, 3, H, W). Layers move at speeds that depend on their depth, as in a slow camera pan.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

DAY, NIGHT, SEA, HILLS, DESERT, SNOW = range(6)
GROUND_LINE = 0.1
"""Height of the horizon, in units of the short side below the centre."""


def rgb(*values: float) -> tuple[float, ...]:
    return values


def paint(place: Tensor, chance: Tensor, x: Tensor, y: Tensor, seconds: Tensor, pixel: float) -> Tensor:
    """Return backgrounds (B, T, 3, H, W) for place indices (B,); `chance` (B, C) sets clouds and stars."""
    canvas = torch.empty(len(place), len(seconds), 3, *x.shape, device=x.device)
    for index, painter in enumerate((_day, _night, _sea, _hills, _desert, _snow)):
        rows = (place == index).nonzero().squeeze(1)
        if len(rows):
            canvas[rows] = _each(painter, chance[rows], x, y, seconds, pixel)
    return canvas


Painter = Callable[["Air"], Tensor]


class Air:
    """Inputs of a painter: the pixel grid (H, W) and per-clip, per-frame numbers shaped (B, T, 1, 1)."""

    def __init__(self, chance: Tensor, x: Tensor, y: Tensor, seconds: Tensor, pixel: float) -> None:
        self.x, self.y, self.pixel = x, y, pixel
        self.seconds = seconds.view(1, -1, 1, 1)
        self.chances = chance
        self.pan = (chance[:, 10].view(-1, 1, 1, 1) - 0.5) * 0.09 * self.seconds

    def c(self, index: int) -> Tensor:
        return self.chances[:, index].view(-1, 1, 1, 1)


def _each(painter: Painter, chance: Tensor, x: Tensor, y: Tensor, seconds: Tensor, pixel: float) -> Tensor:
    return painter(Air(chance, x, y, seconds, pixel))


def _color(value: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(value, device=like.device).view(1, 1, 3, 1, 1)


def _gradient(
    air: Air, top: tuple[float, ...], bottom: tuple[float, ...], low: float = 0.5, high: float = -0.5
) -> Tensor:
    """A vertical blend, (B, T, 3, H, W)."""
    amount = ((air.y - high) / (low - high)).clamp(0, 1)
    amount = amount.expand(len(air.chances), air.seconds.shape[1], *air.x.shape).unsqueeze(2)
    return _color(top, amount) * (1 - amount) + _color(bottom, amount) * amount


def _blend(canvas: Tensor, color: tuple[float, ...] | Tensor, alpha: Tensor) -> Tensor:
    """`color` over `canvas` where `alpha` (B, T, H, W) is 1."""
    paint = _color(color, canvas) if isinstance(color, tuple) else color
    return torch.lerp(canvas, paint.expand_as(canvas), alpha.unsqueeze(2))


def _glow(air: Air, cx: Tensor | float, cy: Tensor | float, radius: Tensor | float) -> Tensor:
    return torch.exp(-((air.x - cx) ** 2 + (air.y - cy) ** 2) / (radius * radius))


def _clouds(air: Air, canvas: Tensor, strength: float, low: float, high: float) -> Tensor:
    """Three soft clouds at random places between heights `high` and `low`."""
    total = torch.zeros_like(canvas[:, :, 0])
    for k in range(3):
        cx = ((air.c(11 + k) + k * 0.37) % 1.0 - 0.5) * 1.7 + air.pan * (1.0 + 0.5 * k) + 0.02 * air.seconds
        cy = high + (low - high) * ((air.c(14 + k) * 0.5 + k * 0.33) % 1.0)
        size = 0.08 + 0.05 * air.c(17)
        for dx, dy, scale in ((-1.1, 0.15, 0.8), (0.0, -0.1, 1.15), (1.15, 0.12, 0.9)):
            px, py = (air.x - cx - dx * size) / (size * scale * 1.35), (air.y - cy - dy * size) / (size * scale * 0.75)
            total = torch.maximum(total, torch.exp(-((px * px + py * py) ** 1.5)))
    canvas = _blend(canvas, rgb(0.86, 0.91, 0.97), strength * (total * 1.25).clamp(0, 1))
    return _blend(canvas, rgb(1.0, 1.0, 1.0), strength * ((total - 0.35) * 1.5).clamp(0, 1))


def _ridge(air: Air, base: float, height: float, wave: float, index: int, depth: float) -> Tensor:
    """Signed distance to a rolling ridge line, (B, T, H, W), positive below it; `depth` scales the pan."""
    phase = air.c(index) * 2 * math.pi
    x = air.x - air.pan * depth
    line = base - height * (
        torch.sin(wave * x + phase) * 0.6
        + torch.sin(wave * 2.3 * x + 1.7 * phase + 1.0) * 0.28
        + 0.12 * torch.sin(wave * 0.6 * x)
    )
    return air.y - line


def _edge(distance: Tensor, pixel: float) -> Tensor:
    """Coverage of a half plane, 0 above and 1 below, anti-aliased over about a pixel."""
    return (distance / (1.5 * pixel) + 0.5).clamp(0, 1)


def _ground(air: Air, canvas: Tensor, far: tuple[float, ...], near: tuple[float, ...], ridge: Tensor) -> Tensor:
    amount = (ridge / 0.42).clamp(0, 1).unsqueeze(2)
    color = _color(far, canvas) * (1 - amount) + _color(near, canvas) * amount
    return _blend(canvas, color, _edge(ridge, air.pixel))


def _day(air: Air) -> Tensor:
    canvas = _gradient(air, rgb(0.30, 0.58, 0.93), rgb(0.74, 0.89, 0.99))
    return _clouds(air, canvas, 0.92, 0.42, -0.42)


def _night(air: Air) -> Tensor:
    canvas = _gradient(air, rgb(0.03, 0.04, 0.14), rgb(0.13, 0.12, 0.33))
    haze = _glow(air, (air.c(11) - 0.5) * 1.2, 0.55, 0.6)
    canvas = _blend(canvas, rgb(0.24, 0.20, 0.46), 0.55 * haze)
    light = torch.zeros_like(canvas[:, :, 0])
    for k in range(40):
        sx = ((air.c(11 + k % 7) * (1.3 + k) + k * 0.618) % 1.0 - 0.5) * 2.1 + air.pan * 0.25
        sy = ((air.c(12 + k % 6) * (2.1 + k) + k * 0.414) % 1.0 - 0.5) * 2.1
        twinkle = 0.75 + 0.25 * torch.sin(3.0 * air.seconds + k * 1.9)
        size = 0.008 if k % 4 else 0.013
        light = light + twinkle * _glow(air, sx, sy, size)
    return _blend(canvas, rgb(1.0, 0.97, 0.88), light.clamp(0, 1))


def _sea(air: Air) -> Tensor:
    canvas = _gradient(air, rgb(0.50, 0.76, 0.95), rgb(0.97, 0.93, 0.84), low=GROUND_LINE)
    canvas = _clouds(air, canvas, 0.6, -0.1, -0.42)
    swell = 0.006 * torch.sin(9 * air.x + 1.6 * air.seconds + 6 * air.c(14))
    depth = air.y - GROUND_LINE + 0.05 + swell
    canvas = _ground(air, canvas, rgb(0.11, 0.52, 0.62), rgb(0.02, 0.20, 0.38), depth)
    near = depth.clamp(min=0)
    rows = 15 * torch.log(near * 8 + 0.30)
    crest = torch.sin(
        rows - 1.5 * air.seconds + 1.1 * torch.sin(11 * air.x / (0.4 + 3 * near) + air.c(15) * 6 + 0.8 * air.seconds)
    )
    foam = ((crest - 0.45) * 1.8).clamp(0, 1) * (near * 16).clamp(0, 1)
    return _blend(canvas, rgb(0.55, 0.83, 0.88), 0.5 * foam)


def _hills(air: Air) -> Tensor:
    canvas = _gradient(air, rgb(0.44, 0.71, 0.96), rgb(0.88, 0.96, 0.98), low=GROUND_LINE)
    canvas = _clouds(air, canvas, 0.8, -0.15, -0.42)
    canvas = _ground(air, canvas, rgb(0.55, 0.72, 0.62), rgb(0.45, 0.64, 0.45), _ridge(air, 0.04, 0.07, 4.2, 15, 1.0))
    canvas = _ground(air, canvas, rgb(0.45, 0.66, 0.33), rgb(0.32, 0.52, 0.22), _ridge(air, 0.14, 0.06, 3.1, 16, 1.8))
    return _ground(air, canvas, rgb(0.43, 0.65, 0.22), rgb(0.20, 0.41, 0.11), _ridge(air, 0.27, 0.035, 2.4, 18, 3.0))


def _desert(air: Air) -> Tensor:
    canvas = _gradient(air, rgb(0.93, 0.66, 0.45), rgb(1.0, 0.90, 0.70), low=GROUND_LINE)
    canvas = _blend(canvas, rgb(1.0, 0.96, 0.84), 0.75 * _glow(air, (air.c(11) - 0.5) * 1.2, -0.22, 0.16))
    canvas = _ground(air, canvas, rgb(0.86, 0.60, 0.40), rgb(0.80, 0.52, 0.33), _ridge(air, 0.06, 0.06, 3.6, 15, 1.0))
    ridge = _ridge(air, 0.15, 0.06, 2.6, 16, 1.8)
    canvas = _ground(air, canvas, rgb(0.92, 0.71, 0.44), rgb(0.76, 0.50, 0.28), ridge)
    front = _ridge(air, 0.29, 0.04, 2.0, 18, 3.0)
    canvas = _ground(air, canvas, rgb(0.95, 0.77, 0.50), rgb(0.74, 0.48, 0.25), front)
    ripple = torch.sin(70 * front + 6 * torch.sin(3 * air.x + 6 * air.c(17)))
    return _blend(canvas, rgb(0.66, 0.42, 0.22), 0.10 * (ripple.clamp(min=0)) * _edge(front - 0.02, air.pixel))


def _snow(air: Air) -> Tensor:
    canvas = _gradient(air, rgb(0.60, 0.69, 0.80), rgb(0.86, 0.90, 0.95), low=GROUND_LINE)
    back = _ridge(air, 0.07, 0.07, 4.0, 15, 1.0)
    canvas = _ground(air, canvas, rgb(0.72, 0.79, 0.89), rgb(0.80, 0.86, 0.94), back)
    canvas = _pines(air, canvas)
    canvas = _ground(air, canvas, rgb(0.93, 0.96, 1.0), rgb(0.72, 0.80, 0.92), _ridge(air, 0.19, 0.045, 2.6, 16, 2.2))
    flakes = torch.zeros_like(canvas[:, :, 0])
    for k in range(34):
        speed = 0.10 + 0.05 * (k % 4)
        fx = (
            ((air.c(11 + k % 7) * (1.7 + k) + k * 0.618) % 1.0 - 0.5) * 2.0
            + 0.02 * torch.sin(1.3 * air.seconds + k)
            + air.pan
        )
        fy = ((air.c(12 + k % 6) * (1.1 + k) + k * 0.414 + speed * air.seconds) % 1.0 - 0.5) * 2.0
        flakes = flakes + _glow(air, fx, fy, 0.010 + 0.004 * (k % 3))
    return _blend(canvas, rgb(1.0, 1.0, 1.0), 0.9 * flakes.clamp(0, 1))


def _pines(air: Air, canvas: Tensor) -> Tensor:
    """A few dark firs of two stacked triangles each, between the ridges."""
    cover = torch.zeros_like(canvas[:, :, 0])
    for k in range(4):
        tx = ((air.c(11 + k) + 0.27 * k) % 1.0 - 0.5) * 1.7 + air.pan * 1.6
        tall = 0.13 + 0.06 * ((air.c(14 + k) + 0.3 * k) % 1.0)
        top = 0.20 - tall
        for start, spread in ((0.0, 0.30), (0.35, 0.40)):
            down = (air.y - top - start * tall) / tall
            inside = torch.minimum(spread * tall * down - (air.x - tx).abs(), 0.02 + 0 * down + (0.9 - down) * tall)
            cover = torch.maximum(cover, (inside / (1.5 * air.pixel) + 0.5).clamp(0, 1))
    return _blend(canvas, rgb(0.20, 0.33, 0.36), 0.9 * cover)


def cast_shadow(canvas: Tensor, place: Tensor, px: Tensor, py: Tensor, scale: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Darken the ground in a soft ellipse under the object (positions and scale (B, T)); skies have no ground."""
    on_ground = (place >= SEA).float().view(-1, 1, 1, 1)
    floor = float(y.max()) - 0.055
    px, py, scale = (value[:, :, None, None] for value in (px, py, scale))
    lift = (floor - py - scale).clamp(min=0)
    width = scale * (1.0 + 0.8 * lift)
    amount = torch.exp(-((((x - px) / width) ** 2 + ((y - floor) / (0.22 * width)) ** 2) ** 1.5))
    alpha = on_ground * amount * 0.5 / (1 + 3.0 * lift)
    return canvas * (1 - alpha.unsqueeze(2) * torch.tensor((0.9, 0.8, 0.6), device=canvas.device).view(1, 1, 3, 1, 1))
