"""Icons, line drawings on a grid of 24 in the colour of the text around them, and the buttons that bear them."""

from __future__ import annotations

PATHS = {
    "up": "M12 19V6M6 12l6-6 6 6",
    "down": "M12 5v13M6 12l6 6 6-6",
    "top": "M12 20V10M7 14l5-5 5 5M5 4h14",
    "edit": "M4 20h4L19 9a2.8 2.8 0 0 0-4-4L4 16zM13.5 6.5l4 4",
    "duplicate": "M9 9h11v11H9zM5 15H4V4h11v1",
    "pause": "M8 5v14M16 5v14",
    "play": "M7 4.5 19 12 7 19.5z",
    "retry": "M20 5v5h-5M19.5 10A8 8 0 1 0 20 14",
    "close": "M6 6l12 12M18 6 6 18",
    "star": "m12 3.5 2.6 5.4 5.9.8-4.3 4.1 1 5.9-5.2-2.8-5.2 2.8 1-5.9-4.3-4.1 5.9-.8z",
    "compare": "M4 5h7v14H4zM13 5h7v14h-7z",
    "bin": "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
    "restore": "M4 10h10a5 5 0 0 1 0 10H9M8 6l-4 4 4 4",
    "folder": "M3 6h6l2 2h10v11H3z",
    "share": "M12 15V4M8 8l4-4 4 4M5 12v8h14v-8",
    "download": "M12 4v11M8 11l4 4 4-4M5 16v4h14v-4",
    "verify": "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 11.5l2.2 2.2L15.5 9.5",
    "dice": "M3 7h3c6 0 5 10 11 10h4M18 14l3 3-3 3M3 17h3c2 0 3-1 4-2.5M14 9.5c1-1.5 1.5-2.5 3-2.5h4M18 4l3 3-3 3",
    "reuse": "M4 6h10M18 6h2M4 12h4M12 12h8M4 18h8M16 18h4M14 4v4M8 10v4M12 16v4",
    "frame": "M4 5h16v14H4zM4 15l5-5 4 4 3-3 4 4",
    "left": "M15 5l-7 7 7 7",
    "right": "M9 5l7 7-7 7",
    "grip": "M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01",
    "log": "M6 3h9l4 4v14H6zM9 12h7M9 16h7M9 8h3",
}


def icon(name: str) -> str:
    return f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{PATHS[name]}"/></svg>'


def action(act: str, label: str, sign: str, *, kind: str = "", pressed: bool | None = None) -> str:
    """A button with a sign and words."""
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return f'<button type="button" class="act {kind}" data-act="{act}"{state}>{icon(sign)}<span>{label}</span></button>'


def sign(act: str, label: str, name: str, *, kind: str = "", pressed: bool | None = None) -> str:
    """A button that is a sign alone; its words are for the pointer and the screen reader."""
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return (
        f'<button type="button" class="sign {kind}" data-act="{act}" title="{label}" aria-label="{label}"{state}>'
        f"{icon(name)}</button>"
    )
