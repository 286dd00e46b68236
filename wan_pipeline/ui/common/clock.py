"""Clocks of the page, which the browser itself runs."""

from __future__ import annotations

import json

import gradio as gr

# They look at the page itself. The events of Gradio's tabs come in any order, and an answer may be lost or overtake a
# newer one, so a `gr.Timer` that events and answers start and stop may stand still while there is something to follow.
TICK = """
const isVisible = part => part.offsetParent !== null;
const isOpen = selector => [...document.querySelectorAll(selector)].some(isVisible);
const isTyping = () => Boolean(document.activeElement?.matches('[data-change]'));
let idleTicks = 0;
const goesOn = (busy, mostIdleTicks) => {
  if (!document.querySelector(busy) && ++idleTicks < mostIdleTicks) return false;
  idleTicks = 0;
  return true;
};
const clock = setInterval(() => {
  if (!element.isConnected) clearInterval(clock);
  else if (!document.hidden && CONDITION) trigger('tick');
}, MILLISECONDS);
"""
HERE = "isVisible(element)"


def room_clock(seconds: float) -> gr.HTML:
    """Fires `tick` every few seconds, as long as its room is visible.

    Not while something is typed into a box of the room's HTML, which would be drawn again without it.
    """
    return _clock(seconds, f"{HERE} && !isTyping()")


def work_clock(seconds: float, busy: str, idle_seconds: float) -> gr.HTML:
    """Fires `tick` every few seconds while its room is visible and shows something that goes on; else seldom.

    `busy` is a CSS selector of what goes on. What the page shows may be wrong for once: the seldom ticks correct it.
    """
    return _clock(seconds, f"{HERE} && {_goes_on(seconds, busy, idle_seconds)}")


def page_clock(seconds: float, busy: str, idle_seconds: float, but_in: str = "") -> gr.HTML:
    """As `work_clock`, in any room but those where something that the selector `but_in` finds is visible."""
    elsewhere = f"!isOpen({json.dumps(but_in)}) && " if but_in else ""
    return _clock(seconds, f"{elsewhere}{_goes_on(seconds, busy, idle_seconds)}")


def _goes_on(seconds: float, busy: str, idle_seconds: float) -> str:
    return f"goesOn({json.dumps(busy)}, {round(idle_seconds / seconds)})"


def _clock(seconds: float, condition: str) -> gr.HTML:
    script = TICK.replace("CONDITION", condition).replace("MILLISECONDS", f"{1000 * seconds:.0f}")
    return gr.HTML("", js_on_load=script, elem_classes="clock")
