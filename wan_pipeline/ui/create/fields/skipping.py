"""The fields that say what of a clip is not computed: a step cache and how much it skips, an early end, and the
guidance interval.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.sampling.early_end import OFF, early_end_text, parse_early_end
from wan_pipeline.requests.sampling.guidance_interval import interval_text, parse_interval
from wan_pipeline.requests.sampling.step_cache import AMOUNTS, TITLES, CacheKind, amount_of_threshold, parse_amount
from wan_pipeline.ui.create.fields.field import Choices, Field, FieldValues, plain

OF_THE_STYLE = ("Default", "")
"""Leaves the choice to the style or the project; else there is no cache."""


def _cache(choices: Choices) -> gr.Dropdown:
    options = [OF_THE_STYLE, *((TITLES[kind], kind.value) for kind in CacheKind)]
    return gr.Dropdown(options, value="", label="Step cache", min_width=120)


def _amount(choices: Choices) -> gr.Dropdown:
    options = [("Default", ""), *((word.capitalize(), word) for word in AMOUNTS)]
    return gr.Dropdown(options, value="", label="How much it skips", min_width=120, allow_custom_value=True)


def _interval(choices: Choices) -> gr.Textbox:
    return gr.Textbox(label="Guidance interval", placeholder="0:1", max_lines=1, min_width=90)


def _read_amount(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    text = str(values["cache_amount"] or "").strip()
    try:
        return {"cache_amount": parse_amount(text) if text else None}
    except UserError as error:
        raise RequestError("cache_amount", str(error)) from error


def _read_interval(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    text = (values["guidance_interval"] or "").strip()
    try:
        return {"guidance_interval": parse_interval(text) if text else None}
    except UserError as error:
        raise RequestError("guidance_interval", str(error)) from error


def _shown_cache(draft: Draft, spec: ModelSpec) -> str:
    """Older clips name the first-block cache by its threshold."""
    return CacheKind.FIRST_BLOCK.value if draft.first_block_cache else draft.cache or ""


def _shown_amount(draft: Draft, spec: ModelSpec) -> str:
    amount = amount_of_threshold(draft.first_block_cache) if draft.first_block_cache else draft.cache_amount
    return "" if amount is None else next((word for word, value in AMOUNTS.items() if value == amount), f"{amount:.4g}")


def _shown_interval(draft: Draft, spec: ModelSpec) -> str:
    return interval_text(draft.guidance_interval) if draft.guidance_interval else ""


def _early_end(choices: Choices) -> gr.Dropdown:
    options = [("Default", ""), ("Off", OFF), *((word.capitalize(), word) for word in AMOUNTS)]
    return gr.Dropdown(options, value="", label="End early", min_width=120, allow_custom_value=True)


def _read_early_end(values: FieldValues, spec: ModelSpec) -> dict[str, Any]:
    text = str(values["early_end"] or "").strip()
    try:
        return {"early_end": parse_early_end(text) if text else None}
    except UserError as error:
        raise RequestError("early_end", str(error)) from error


def _shown_early_end(draft: Draft, spec: ModelSpec) -> str:
    return "" if draft.early_end is None else early_end_text(draft.early_end)


SKIPPING_FIELDS = {
    "cache": Field(_cache, plain("cache", _cache).read, _shown_cache),
    "cache_amount": Field(_amount, _read_amount, _shown_amount),
    "early_end": Field(_early_end, _read_early_end, _shown_early_end),
    "guidance_interval": Field(_interval, _read_interval, _shown_interval),
}
