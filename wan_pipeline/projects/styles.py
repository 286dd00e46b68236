"""Styles that a person makes of a form: files like those that ship, in a folder of the workspace."""

from __future__ import annotations

import re
from pathlib import Path

import tomlkit

from wan_pipeline.errors import PresetError
from wan_pipeline.requests.layers import Layer, chosen_by, merge_chosen, style_of
from wan_pipeline.requests.presets import Preset, find_preset
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse

STYLED = ("negative_prompt", "num_inference_steps", "guidance_scale", "flow_shift", "scheduler")
"""Settings that a saved style holds, unless they are the model's, a quality's or a speed's."""


def style_from(title: str, draft: Draft, requests: RequestResolver) -> Preset:
    """A style with the words and the settings that a draft has beside its prompt. Raises UserError."""
    title = title.strip()
    preset_id = re.sub(r"\W+", "-", title.casefold()).strip("-_")
    if not preset_id:
        raise PresetError("The style has no name yet; write one with letters or digits.")
    if preset_id in requests.presets:
        raise PresetError(f"There is a style '{title[:80]}' already; choose another name.")
    chosen, merged = chosen_by(draft, requests.layers), requests.merged(draft)
    base = find_preset(requests.presets, chosen.preset) if chosen.preset else None
    words = merge_chosen(draft, requests.layers).values
    template = style_of(base, words.get("prompt_before", ""), words.get("prompt_after", ""))("{prompt}")
    settings = {name: merged.values[name] for name in STYLED if _is_own(merged.origins.get(name))}
    own = {"id": preset_id, "title": title, "description": "Saved from the form", "prompt": template, **settings}
    try:
        return parse(Preset, own)
    except OutsideDataError as error:
        raise PresetError(f"The style '{title[:80]}' cannot be saved: {error}.") from error


def write_style(preset: Preset, folder: Path) -> Path:
    """Write a style's file, which `requests.presets.load_preset` reads. Raises StorageError."""
    plain = {
        name: value for name, value in vars(preset).items() if name != "id" and value != getattr(Preset, name, None)
    }
    table = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
    path = folder / f"{preset.id}.toml"
    with whole_file(path) as part:
        part.write_text(tomlkit.dumps(table), encoding="utf-8", newline="\n")
    return path


def _is_own(origin: Layer | None) -> bool:
    return origin not in (None, Layer.MODEL, Layer.QUALITY, Layer.SPEED)
