"""Draws the objects of the demo world, with soft shading."""

from __future__ import annotations

import torch
from torch import Tensor

from wan_pipeline.demo.motions import LEFT, Pose
from wan_pipeline.demo.objects import DRAWERS, Layer


def draw(  # noqa: PLR0913 - a scene, its pose and the pixel grid
    canvas: Tensor,
    obj: Tensor,
    motion: Tensor,
    color: Tensor,
    pose: Pose,
    x: Tensor,
    y: Tensor,
    seconds: Tensor,
    pixel: float,
) -> tuple[Tensor, Tensor]:
    """Draw each clip's object over its canvas (B, T, 3, H, W); body colours are (B, 3).

    Returns the canvas and the coverage (B, T, 1, H, W).
    """
    coverage = torch.zeros_like(canvas[:, :, :1])
    for index, drawer in enumerate(DRAWERS):
        rows = (obj == index).nonzero().squeeze(1)
        if not len(rows):
            continue
        scale = pose.scale[rows][:, :, None, None]
        u, v = _local(pose, rows, motion[rows], x, y)
        layers = drawer(u, v, seconds.view(1, -1, 1, 1))
        light = _light(pose, rows, x, y)
        picture, cover = canvas[rows], coverage[rows]
        for layer in layers:
            alpha = (-layer.distance * scale / (1.4 * pixel) + 0.5).clamp(0, 1).unsqueeze(2)
            picture = torch.lerp(picture, _tone(layer, color[rows], light, picture), alpha)
            cover = torch.maximum(cover, alpha)
        canvas[rows], coverage[rows] = picture, cover
    return canvas, coverage


def _local(pose: Pose, rows: Tensor, motion: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Convert frame coordinates (H, W) to the object's own (B, T, H, W), mirrored when it moves left."""
    px, py, scale, angle, squash = (
        value[rows][:, :, None, None] for value in (pose.x, pose.y, pose.scale, pose.angle, pose.squash)
    )
    u, v = (x - px) / scale * squash.sqrt(), (y - py) / scale / squash.sqrt()
    cos, sin = torch.cos(angle), torch.sin(angle)
    u, v = cos * u + sin * v, cos * v - sin * u
    facing = torch.where(motion == LEFT, -1.0, 1.0).view(-1, 1, 1, 1)
    return u * facing, v


def _light(pose: Pose, rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Light from the upper left, -1 to 1 across the body, (B, T, H, W). It does not rotate with the object."""
    px, py, scale = (value[rows][:, :, None, None] for value in (pose.x, pose.y, pose.scale))
    return (-0.55 * (x - px) / scale - 0.8 * (y - py) / scale).clamp(-1.2, 1.2)


def _tone(layer: Layer, color: Tensor, light: Tensor, like: Tensor) -> Tensor:
    """Return the colour of a layer, (B, T, 3, H, W): its tone, shaded by light and a darker rim."""
    base = torch.tensor(layer.rgb, device=like.device).expand(len(color), 3) if layer.rgb else color
    base = base.view(-1, 1, 3, 1, 1)
    tone = layer.tone.unsqueeze(2) if isinstance(layer.tone, Tensor) else torch.tensor(layer.tone, device=like.device)
    up, down = (tone - 1).clamp(0, 1), tone.clamp(0, 1)
    toned = base * down * (1 - up) + up
    rim = torch.exp(layer.distance.clamp(max=0) / 0.10).clamp(0, 1).unsqueeze(2)
    shade = layer.rounded * (0.26 * light.unsqueeze(2) - 0.30 * rim)
    return torch.where(shade > 0, toned + (1 - toned) * shade * 0.9, toned * (1 + shade))
