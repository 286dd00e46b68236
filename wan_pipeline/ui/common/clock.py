"""A clock that ticks while its room is visible."""

from __future__ import annotations

import gradio as gr

# It looks at the page itself: the events of Gradio's tabs come in any order, so a `gr.Timer` that they start and stop
# may stand still in an open room.
# Nor does it tick while something is typed into a box of the room's HTML, which would be drawn again without it.
TICK_WHILE_VISIBLE = """
const isTyping = () => Boolean(document.activeElement?.matches('[data-change]'));
const clock = setInterval(() => {
  if (!element.isConnected) clearInterval(clock);
  else if (element.offsetParent !== null && !document.hidden && !isTyping()) trigger('tick');
}, MILLISECONDS);
"""


def room_clock(seconds: float) -> gr.HTML:
    """Fires `tick` every few seconds, as long as its room is visible."""
    script = TICK_WHILE_VISIBLE.replace("MILLISECONDS", f"{1000 * seconds:.0f}")
    return gr.HTML("", js_on_load=script, elem_classes="clock")
