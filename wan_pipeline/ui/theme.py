"""The looks of the page, and the arguments that Gradio serves it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.room import RoomId

# System fonts only: nothing is asked of the network.
SANS = ("Inter", "ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

WHOLE = "whole.css"
"""Goes into the head of the page as it is. Gradio puts a prefix before the selectors of all other stylesheets."""
UI = Path(__file__).parent
ASSETS = UI / "common" / "assets"
MAX_SESSIONS = 64
"""Tabs whose state is kept; of an older one the state starts empty."""


def launch_options(studio: Studio) -> dict[str, Any]:
    """Arguments for `Blocks.launch`: looks, and what it serves to the owner: clips with their files, and exports."""
    return {
        "theme": theme(),
        "css": _collect("css"),
        "head": f"<style>{_read(ASSETS / WHOLE)}</style><script>{_collect('js')}</script>",
        "favicon_path": ASSETS / "favicon.svg",
        "allowed_paths": [str(studio.settings.clips), str(studio.settings.exports)],
        "max_file_size": "4gb",
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "num_workers": 0,  # those would serve files on another port, with no guard before them
        "enable_monitoring": False,
        "state_session_capacity": MAX_SESSIONS,
        "pwa": False,
        "mcp_server": False,
        # Without Gradio's check that its page answers within 3 s, which a busy machine or a proxy fails.
        "_frontend": False,
    }


def _collect(ending: str) -> str:
    """The stylesheets or scripts of the rooms, in their folders or `assets` there; those that all rooms share first."""
    folders = (ASSETS, *(folder for room in RoomId for folder in (UI / room, UI / room / "assets")))
    files = [path for folder in folders for path in sorted(folder.glob(f"*.{ending}"))]
    return "".join(_read(path) for path in files if path.name != WHOLE)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


LIGHT_AND_DARK = {
    "body_background_fill": "var(--ground)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--ink-soft)",
    "block_background_fill": "transparent",
    "block_border_width": "0px",
    "block_label_background_fill": "transparent",
    "block_shadow": "none",
    "block_title_text_color": "var(--ink-soft)",
    "border_color_primary": "var(--line)",
    "input_background_fill": "var(--field)",
    "input_border_color": "var(--line)",
    "input_border_color_focus": "var(--accent)",
    "input_border_width": "1px",
    "input_shadow_focus": "0 0 0 3px var(--halo)",
    "button_primary_background_fill": "var(--accent)",
    "button_primary_background_fill_hover": "var(--accent-strong)",
    "button_primary_text_color": "#ffffff",
    "button_secondary_background_fill": "var(--field)",
    "button_secondary_background_fill_hover": "var(--raised)",
    "button_secondary_border_color": "var(--line)",
    "slider_color": "var(--accent)",
}
"""Settings that Gradio has twice. The colours are variables of `common/assets/page.css`, which follow the mode."""
ONE_FOR_BOTH = {
    "block_padding": "0",
    "block_title_text_weight": "500",
    "input_shadow": "none",
    "input_radius": "10px",
    "block_radius": "12px",
    "button_large_radius": "10px",
    "button_small_radius": "999px",
    "layout_gap": "18px",
    "form_gap_width": "0px",
}


def theme() -> gr.themes.Base:
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.violet, neutral_hue=gr.themes.colors.zinc, font=SANS, font_mono=MONO
    )
    dark = {f"{name}_dark": value for name, value in LIGHT_AND_DARK.items()}
    return base.set(**LIGHT_AND_DARK, **dark, **ONE_FOR_BOTH)
