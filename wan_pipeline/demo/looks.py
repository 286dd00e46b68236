"""Colour grades applied to the finished frame, one per look of the vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

NATURAL, GOLDEN, NOIR, VINTAGE, PASTEL, MOONLIT, COMIC = range(7)


def grade(canvas: Tensor, coverage: Tensor, look: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Grade pixels (B, T, 3, H, W) by look indices (B,); `coverage` (B, T, 1, H, W) is the object's mask."""
    if not bool((look != NATURAL).any()):
        return canvas
    graders = {GOLDEN: _golden, NOIR: _noir, VINTAGE: _vintage, PASTEL: _pastel, MOONLIT: _moonlit, COMIC: _comic}
    for index, grader in graders.items():
        rows = (look == index).nonzero().squeeze(1)
        if len(rows):
            canvas[rows] = grader(canvas[rows], coverage[rows], x, y)
    return canvas


def _luma(canvas: Tensor) -> Tensor:
    weights = torch.tensor((0.2126, 0.7152, 0.0722), device=canvas.device).view(1, 1, 3, 1, 1)
    return (canvas * weights).sum(2, keepdim=True)


def _tint(canvas: Tensor, red: float, green: float, blue: float) -> Tensor:
    return canvas * torch.tensor((red, green, blue), device=canvas.device).view(1, 1, 3, 1, 1)


def _vignette(x: Tensor, y: Tensor, strength: float) -> Tensor:
    radius = (x / x.max()) ** 2 + (y / y.max()) ** 2
    return 1 - strength * (radius / 2).clamp(0, 1) ** 1.5


def _golden(canvas: Tensor, coverage: Tensor, x: Tensor, y: Tensor) -> Tensor:
    warm = _tint(canvas, 1.06, 0.86, 0.58)
    light = torch.exp(-((x - x.max()) ** 2 + (y - y.min()) ** 2) / 0.9) * 0.38
    glow = torch.tensor((1.0, 0.78, 0.42), device=canvas.device).view(1, 1, 3, 1, 1)
    return warm + light * (glow - warm * 0.4)


def _noir(canvas: Tensor, coverage: Tensor, x: Tensor, y: Tensor) -> Tensor:
    grey = _luma(canvas)
    contrast = grey * grey * (3 - 2 * grey)
    return (contrast * _vignette(x, y, 0.65)).expand_as(canvas).clone()


def _vintage(canvas: Tensor, coverage: Tensor, x: Tensor, y: Tensor) -> Tensor:
    sepia = _tint(_luma(canvas).expand_as(canvas), 1.05, 0.86, 0.62)
    return (0.10 + 0.84 * (0.82 * sepia + 0.18 * canvas)) * _vignette(x, y, 0.5)


def _pastel(canvas: Tensor, coverage: Tensor, x: Tensor, y: Tensor) -> Tensor:
    soft = 0.75 * canvas + 0.25 * _luma(canvas)
    return 0.46 + 0.54 * soft


def _moonlit(canvas: Tensor, coverage: Tensor, x: Tensor, y: Tensor) -> Tensor:
    dim = 0.55 * canvas + 0.45 * _luma(canvas)
    return _tint(dim, 0.38, 0.52, 0.86) * _vignette(x, y, 0.4)


def _comic(canvas: Tensor, coverage: Tensor, x: Tensor, y: Tensor) -> Tensor:
    grey = _luma(canvas)
    vivid = (grey + 1.45 * (canvas - grey)).clamp(0, 1)
    levels = vivid * 4
    step = torch.floor(levels) + torch.sigmoid((levels - torch.floor(levels) - 0.5) * 14)
    inked = step / 4
    flat = coverage.flatten(0, 1)
    outline = torch.nn.functional.max_pool2d(flat, 7, 1, 3) - flat
    return inked * (1 - 0.92 * outline.view_as(coverage))
