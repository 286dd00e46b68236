"""The form survives a reload: the browser keeps what was typed, on the person's own computer, and gives it back."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import gradio as gr

from wan_pipeline.models import registry
from wan_pipeline.studio import Studio
from wan_pipeline.ui.generate_tab import GenerateTab
from wan_pipeline.ui.hints import reshape


def remember(page: gr.Blocks, studio: Studio, tab: GenerateTab, quiet: dict[str, Any]) -> None:
    """Keep all fields but the image whenever one changes, without asking the server, and restore them on opening."""
    boxes = {name: box for name, box in tab.form.components.items() if name != "image"}
    key, names = json.dumps(tab.mode.value), json.dumps(list(boxes))
    gr.on(
        [box.change for box in boxes.values()],
        None,
        list(boxes.values()),
        None,
        js=f"(...values) => wanStudio.keepForm({key}, {names}, values)",
    )
    kept = gr.Textbox(visible="hidden", container=False)
    page.load(partial(restore, studio, tab), kept, list(boxes.values()), js=f"() => wanStudio.keptForm({key})", **quiet)


def restore(studio: Studio, tab: GenerateTab, text: str | None) -> dict[Any, Any]:
    """The fields as they were, if they still mean something here; what comes from a browser is not believed."""
    boxes = {name: box for name, box in tab.form.components.items() if name != "image"}
    try:
        kept = json.loads(text or "{}")
    except ValueError:
        kept = {}
    kept = {name: "" if value is None else value for name, value in kept.items()} if isinstance(kept, dict) else {}
    if set(kept) != set(boxes) or not _is_sound(kept, tab):
        return {boxes["prompt"]: gr.skip()}  # Gradio takes an empty dict for a missing answer
    if kept["preset"] not in studio.presets:
        kept["preset"] = None
    values = {boxes[name]: value for name, value in kept.items()}
    return {**values, **reshape(tab.form, registry.find(kept["model"]), kept)}


def _is_sound(kept: dict[str, Any], tab: GenerateTab) -> bool:
    texts = (value for name, value in kept.items() if name not in ("seconds", "preset"))
    offered = {spec.id for spec in tab.form.choices.models}
    is_length = isinstance(kept["seconds"], (int, float)) and not isinstance(kept["seconds"], bool)
    return all(isinstance(text, str) for text in texts) and is_length and kept["model"] in offered
