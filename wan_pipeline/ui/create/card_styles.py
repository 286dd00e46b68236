"""The pictures on the cards of the form: of each style, and of each size its shape."""

from __future__ import annotations

import mimetypes
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from wan_pipeline.jobs.background.style_pictures import ENDINGS
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.presets import Preset, PresetGroup, PresetKind, of_kind
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates

THUMBNAILS = Path(__file__).parent.parent / "common" / "assets" / "presets"
"""Pictures of the styles that ship."""
MAX_PICTURE_BYTES = 256 * 1024
"""A larger picture is left out: all of them are in the page itself."""
OWN = "yours"
"""The group of looks without one: those that a person saved."""
GROUPS = {"": "All"} | {group.value: group.value.capitalize() for group in PresetGroup} | {OWN: "Yours"}
"""Titles of the buttons above the cards."""
LONGER_SIDE = 26
"""Pixels of the shape on the button of a size."""


def card_styles(templates: Templates, studio: Studio) -> str:
    """A stylesheet with a rule for each style and each size, as preset files and models are now."""
    looks = of_kind(studio.presets.current(), PresetKind.LOOK)
    folders = studio.settings.own_presets, studio.settings.presets
    return templates.render(
        "create/card_styles.html",
        pictures={_css_text(name): picture(look, *folders) for name, look in looks.items()},
        groups={group: [_css_text(name) for name in of_group(looks, group)] for group in GROUPS if group},
        shapes=_shapes(studio.models.specs().values()),
    )


def of_group(looks: Mapping[str, Preset], group: str) -> list[str]:
    """The ids of the looks that a button above the cards shows."""
    return [name for name, look in looks.items() if (look.group or OWN) == group]


def picture(preset: Preset, *folders: Path) -> str:
    """The picture beside the style's file, else the one that ships, else a small landscape in its colours, as CSS."""
    beside = (folder / f"{preset.id}{ending}" for folder in folders for ending in ENDINGS)
    for path in (*beside, THUMBNAILS / f"{preset.id}.webp"):
        if path.is_file() and path.stat().st_size <= MAX_PICTURE_BYTES:
            return f"url(data:{mimetypes.types_map[path.suffix]};base64,{b64encode(path.read_bytes()).decode()})"
    ground, sky, light = (*preset.colors, *preset.colors, *preset.colors)[:3]
    return (
        f"radial-gradient(circle at 70% 34%, {light} 0 13%, transparent 14%), "
        f"radial-gradient(ellipse 90% 70% at 22% 108%, {ground} 0 70%, transparent 71%), "
        f"radial-gradient(ellipse 80% 50% at 85% 110%, color-mix(in srgb, {ground} 80%, {sky}) 0 70%, transparent 71%), "  # noqa: E501
        f"linear-gradient({sky}, color-mix(in srgb, {sky} 55%, {light}))"
    )


def _shapes(specs: Iterable[ModelSpec]) -> dict[str, tuple[int, int]]:
    """Width and height in pixels of the shape of each size, by the value of its button."""
    sizes = sorted({(size.width, size.height) for spec in specs for size in spec.sizes})
    return {
        f"{width}x{height}": (
            round(LONGER_SIDE * width / max(width, height)),
            round(LONGER_SIDE * height / max(width, height)),
        )
        for width, height in sizes
    }


def _css_text(text: str) -> str:
    """Text between quotes of a stylesheet: a file may have any name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else f"\\{ord(letter):x} " for letter in text)
