"""How the page looks, and how Gradio is to serve it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import gradio as gr

from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.presets import Preset
from wan_pipeline.studio import Studio
from wan_pipeline.ui.examples import ASSETS

# System fonts only: nothing is asked of the network.
SANS = ("Inter", "ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

STYLES = ("style.css", "rooms.css", "gallery.css", "queue.css", "../models/models.css")
WHOLE = "whole.css"
SCRIPTS = ("page.js", "gallery.js", "queue.js", "../models/models.js")

HEADER = """
<header class="masthead">
  <a class="brand" href="./" aria-label="Wan Studio, start page">
    <svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9"/>
      <path d="M6.5 11.5 10.6 21 16 12.5 21.4 21 25.5 11.5"/></svg>
    <span>Wan Studio</span>
  </a>
  <span class="spring"></span>
  <button type="button" class="theme-toggle" data-action="theme" aria-label="Switch between light and dark"></button>
</header>
"""


def launch_options(studio: Studio) -> dict[str, Any]:
    """Arguments for `Blocks.launch`: looks, and nothing served beyond the clips and their posters."""
    settings = studio.settings
    script = "".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return {
        "theme": theme(),
        "css": "".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)
        + preset_css(studio.presets.values())
        + size_css(studio.models.specs().values()),
        "head": f"<style>{(ASSETS / WHOLE).read_text(encoding='utf-8')}</style><script>{script}</script>",
        "favicon_path": ASSETS / "favicon.svg",
        "allowed_paths": [str(settings.clips)],
        "max_file_size": "100mb",
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "pwa": False,
        "mcp_server": False,
    }


def theme() -> gr.themes.Base:
    return gr.themes.Base(
        primary_hue=gr.themes.colors.violet, neutral_hue=gr.themes.colors.zinc, font=SANS, font_mono=MONO
    ).set(
        body_background_fill="var(--ground)",
        body_background_fill_dark="var(--ground)",
        body_text_color="var(--ink)",
        body_text_color_dark="var(--ink)",
        body_text_color_subdued="var(--ink-soft)",
        body_text_color_subdued_dark="var(--ink-soft)",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_padding="0",
        block_shadow="none",
        block_shadow_dark="none",
        block_title_text_color="var(--ink-soft)",
        block_title_text_color_dark="var(--ink-soft)",
        block_title_text_weight="500",
        border_color_primary="var(--line)",
        border_color_primary_dark="var(--line)",
        input_background_fill="var(--field)",
        input_background_fill_dark="var(--field)",
        input_border_color="var(--line)",
        input_border_color_dark="var(--line)",
        input_border_color_focus="var(--accent)",
        input_border_color_focus_dark="var(--accent)",
        input_border_width="1px",
        input_border_width_dark="1px",
        input_shadow="none",
        input_shadow_focus="0 0 0 3px var(--halo)",
        input_shadow_focus_dark="0 0 0 3px var(--halo)",
        input_radius="10px",
        block_radius="12px",
        button_primary_background_fill="var(--accent)",
        button_primary_background_fill_dark="var(--accent)",
        button_primary_background_fill_hover="var(--accent-strong)",
        button_primary_background_fill_hover_dark="var(--accent-strong)",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="var(--field)",
        button_secondary_background_fill_dark="var(--field)",
        button_secondary_background_fill_hover="var(--raised)",
        button_secondary_background_fill_hover_dark="var(--raised)",
        button_secondary_border_color="var(--line)",
        button_secondary_border_color_dark="var(--line)",
        button_large_radius="10px",
        button_small_radius="999px",
        slider_color="var(--accent)",
        slider_color_dark="var(--accent)",
        layout_gap="18px",
        form_gap_width="0px",
    )


def preset_css(presets: Iterable[Preset]) -> str:
    """One rule a style, for its card and for clips that wait: its thumbnail, else a small landscape in its colours."""
    return "\n".join(
        f'.style-cards label:has(input[value="{preset.id}"]), [data-preset="{preset.id}"] '
        f"{{ --picture: {_picture(preset)}; }}"
        for preset in presets
    )


def size_css(specs: Iterable[ModelSpec]) -> str:
    """One rule a size: its button shows its shape."""
    sizes = {(size.width, size.height) for spec in specs for size in spec.sizes}
    return "\n".join(
        f'.size-cards label:has(input[value="{width}x{height}"]) '
        f"{{ --wide: {26 * width / max(width, height):.0f}px; --high: {26 * height / max(width, height):.0f}px; }}"
        for width, height in sorted(sizes)
    )


def _picture(preset: Preset) -> str:
    thumbnail = ASSETS / "presets" / f"{preset.id}.webp"
    if thumbnail.is_file():
        return f"url(data:image/webp;base64,{b64encode(thumbnail.read_bytes()).decode()})"
    ground, sky, light = (*preset.colors, *preset.colors, *preset.colors)[:3]
    return (
        f"radial-gradient(circle at 70% 34%, {light} 0 13%, transparent 14%), "
        f"radial-gradient(ellipse 90% 70% at 22% 108%, {ground} 0 70%, transparent 71%), "
        f"radial-gradient(ellipse 80% 50% at 85% 110%, color-mix(in srgb, {ground} 80%, {sky}) 0 70%, transparent 71%),"
        f"linear-gradient({sky}, color-mix(in srgb, {sky} 55%, {light}))"
    )
