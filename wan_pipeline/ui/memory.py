"""The form survives a reload: the browser keeps what was typed, on the person's own computer, and gives it back."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.fields import model_choices
from wan_pipeline.ui.file_fields import FILE_FIELDS
from wan_pipeline.ui.generate_tab import GenerateTab
from wan_pipeline.ui.hints import reshape


def remember(page: gr.Blocks, studio: Studio, tab: GenerateTab, quiet: dict[str, Any]) -> None:
    """Keep all fields but the files whenever one changes, without asking the server, and restore them on opening."""
    boxes = _boxes(tab)
    key, names = json.dumps(tab.mode.value), json.dumps(list(boxes))
    gr.on(
        [box.change for box in boxes.values()],
        None,
        list(boxes.values()),
        None,
        js=f"(...values) => wanStudio.keepForm({key}, {names}, values)",
    )
    kept = gr.Textbox(visible="hidden", container=False)
    outputs = [*boxes.values(), *tab.form.parts.values()]
    page.load(partial(restore, studio, tab), kept, outputs, js=f"() => wanStudio.keptForm({key})", **quiet)


def restore(studio: Studio, tab: GenerateTab, text: str | None) -> dict[Any, Any]:
    """The fields as they were, if they still mean something here; what comes from a browser is not believed."""
    boxes, offered = _boxes(tab), tab.form.choices.offer()
    try:
        kept = json.loads(text or "{}")
    except ValueError:
        kept = {}
    kept = {name: "" if value is None else value for name, value in kept.items()} if isinstance(kept, dict) else {}
    if set(kept) != set(boxes) or not _is_sound(kept, {spec.id for spec in offered}):
        return {boxes["prompt"]: gr.skip()}  # Gradio takes an empty dict for a missing answer
    if kept["preset"] not in studio.presets:
        kept["preset"] = None
    values = {boxes[name]: value for name, value in kept.items()}
    values[boxes["model"]] = gr.Dropdown(choices=model_choices(offered), value=kept["model"])
    return {**values, **reshape(tab.form, tab.form.spec(kept["model"]), kept)}


def _boxes(tab: GenerateTab) -> dict[str, gr.components.Component]:
    return {name: box for name, box in tab.form.components.items() if name not in FILE_FIELDS}


def _is_sound(kept: dict[str, Any], offered: set[str]) -> bool:
    texts = (value for name, value in kept.items() if name not in ("seconds", "preset"))
    is_length = isinstance(kept["seconds"], (int, float)) and not isinstance(kept["seconds"], bool)
    return all(isinstance(text, str) for text in texts) and is_length and kept["model"] in offered
