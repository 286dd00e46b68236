"""What a viewer app shows: its banner, and disabled buttons for what the studio would refuse."""

from __future__ import annotations

from collections.abc import Callable

from wan_pipeline.studio import LOOKING_ON, Studio

BANNER = (
    "Another Wan Studio has this workspace open and makes its clips. Here you can watch and add to the queue; "
    "to change anything, use that one. When it is closed, this one takes over."
)
REFUSED = frozenset(
    {
        *("pause-all", "pause-now", "resume-all", "stop-after", "cancel", "hold", "release", "edit"),
        *("top", "up", "down", "move-before", "move-after", "retry", "retry-failed", "clear"),
        *("star", "note", "expert", "bin", "unbin", "undo"),
        *("cancel-training", "retry-training", "remove-training", "take", "caption", "remove-item", "project-lora"),
        *("compare-checkpoints", "remove-tag"),
        *("pick-take", "reject-take", "rate", "ask-remove-shot", "remove-shot", "done", "undone"),
        *("add-sound", "make-sound", "frames", "stop-work", "stop-works"),
        *("character-new", "character-name", "character-kind", "character-sentence", "character-lora"),
        *("character-weight", "character-pictures", "character-no-picture", "character-remove"),
        *("many-rate", "many-move", "many-bin", "many-unbin"),
        *("ask", "fetch", "verify", "export", "stop", "ask-remove", "remove"),
    }
)
"""Names of buttons (`data-act`) and boxes (`data-change`) that change what the main app alone may change."""


def refusal_of(studio: Studio) -> Callable[[str], str]:
    """Gives the reason why a button is disabled now: one sentence; empty for what may be done."""
    return lambda act: LOOKING_ON if act in REFUSED and studio.is_viewer else ""
