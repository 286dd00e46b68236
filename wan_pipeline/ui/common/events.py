"""What the events of every room have in common: their values, their updates, and clicks inside a piece of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

Values = Mapping[Any, Any]
"""Values of components, as Gradio passes them for a set of inputs."""
Updates = dict[Any, Any]
"""New values or properties of components, as a handler returns them."""

CLEAR = "() => ''"
"""A script that empties a box, or an HTML part."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private", "queue": False}
"""How every event is bound: handlers are quick, so none waits in Gradio's queue. Long work is a job of the studio.

`show_progress_on` is empty, for else the page updates every component that was ever an output, hidden or not, once at
the start and once at the end of each event (Gradio 6.31: it opened in 4.0 s instead of 2.1).
"""

FORWARD_CLICKS = """
const tell = (source, act, text) => {
  const clip = source.closest('[data-clip]')?.dataset.clip ?? '';
  if (!source.disabled) trigger('click', {act, clip, text});
};
const filled = form => {
  const value = box => box.type !== 'number' ? box.value : box.value === '' ? null : box.valueAsNumber;
  return JSON.stringify(Object.fromEntries([...form.querySelectorAll('[name]')].map(box => [box.name, value(box)])));
};
element.addEventListener('click', event => {
  const button = event.target.closest('[data-act]');
  const form = button?.closest('[data-fields]');
  if (button) tell(button, button.dataset.act, form ? filled(form) : button.dataset.ids ?? '');
});
element.addEventListener('keydown', event => {
  const act = event.key === 'Enter' && !event.repeat && !event.isComposing && event.target.dataset.enter;
  if (act) event.target.closest('[data-fields]').querySelector(`[data-act="${act}"]`).click();
});
element.addEventListener('change', event => {
  const box = event.target.closest('[data-change]');
  if (box) tell(box, box.dataset.change, box.value);
});
"""
"""`js_on_load` of a `gr.HTML`: one click event for all its buttons (`data-act`) and boxes (`data-change`).

A button within `data-fields` sends the values of the boxes there that have a name, as JSON: numbers, null for an empty
box of numbers, and texts. Enter in a box there presses the button that its `data-enter` names.
"""


@dataclass(frozen=True)
class Click:
    """What was clicked or typed inside a `gr.HTML` with FORWARD_CLICKS."""

    act: str
    """The button's `data-act`, or the box's `data-change`."""
    subject: str
    """The nearest `data-clip`: the id of the clip, job or model that it belongs to; empty where there is none."""
    text: str
    """The button's `data-ids`, the JSON of its `data-fields`, or what was typed."""

    @classmethod
    def of(cls, event: gr.EventData) -> Click:
        return cls(str(event.act), str(event.clip), str(event.text))
