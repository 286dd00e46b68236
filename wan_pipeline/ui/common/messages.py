"""Short messages: at a form, under a clip, at the foot of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wan_pipeline.ui.common.templates import Templates, drawing_mark
from wan_pipeline.wording import upper_first


def notice(templates: Templates, text: str, kind: str = "") -> str:
    """What went wrong, or with kind "good", "warning" or "busy" how something stands. Empty text removes it."""
    return templates.render("common/notice.html", text=text, kind=kind)


def estimate(templates: Templates, text: str, fits: bool = True) -> str:
    """How long a clip will take and whether the memory is enough; if it is not, what to change."""
    return templates.render("common/estimate.html", text=upper_first(text), kind="" if fits else "warning")


def hint(templates: Templates, text: str) -> str:
    """Why there is no estimate yet: what is still missing in the form."""
    return templates.render("common/estimate.html", text=text, kind="lacking")


def toast(templates: Templates, text: str, undo: Sequence[str] = (), download: Path | None = None) -> str:
    """What has just been done, shown for some seconds.

    `undo` are ids for an Undo button (`data-act="undo"`); `download` is a file that the browser then saves. Equal
    toasts differ in their HTML, so that the second one is shown as well.
    """
    ids = " ".join(undo)
    return templates.render("common/toast.html", text=text, undo=ids, download=download, at=drawing_mark())
