"""Clocks of the page, which the browser itself runs."""

from __future__ import annotations

import json

import gradio as gr

# They look at the page itself. The events of Gradio's tabs come in any order, and an answer may be lost or overtake a
# newer one, so a `gr.Timer` that events and answers start and stop may stand still while there is something to follow.
TICK = """
CONDITION
const clock = setInterval(() => {
  if (!element.isConnected) clearInterval(clock);
  else if (!document.hidden && isDue()) trigger('tick');
}, MILLISECONDS);
"""
# Not while something is typed into a box of the room's HTML, which would be drawn again without it.
WHILE_VISIBLE = """
const isTyping = () => Boolean(document.activeElement?.matches('[data-change]'));
const isDue = () => element.offsetParent !== null && !isTyping();
"""
WHILE_BUSY = """
let idleTicks = 0;
const isDue = () => {
  if (!document.querySelector(BUSY) && ++idleTicks < IDLE_TICKS) return false;
  idleTicks = 0;
  return true;
};
"""


def room_clock(seconds: float) -> gr.HTML:
    """Fires `tick` every few seconds, as long as its room is visible."""
    return _clock(seconds, WHILE_VISIBLE)


def page_clock(seconds: float, busy: str, idle_seconds: float) -> gr.HTML:
    """Fires `tick` every few seconds in any room while the page shows something that goes on; else seldom.

    `busy` is a CSS selector of what goes on. What the page shows may be wrong for once: the seldom ticks correct it.
    """
    script = WHILE_BUSY.replace("BUSY", json.dumps(busy)).replace("IDLE_TICKS", str(round(idle_seconds / seconds)))
    return _clock(seconds, script)


def _clock(seconds: float, condition: str) -> gr.HTML:
    script = TICK.replace("CONDITION", condition).replace("MILLISECONDS", f"{1000 * seconds:.0f}")
    return gr.HTML("", js_on_load=script, elem_classes="clock")
