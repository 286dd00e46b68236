"""How many tokens a text has for a model's text encoder. Counted by the model's own tokenizer, without torch."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.models.library import InstalledModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_HELD = 2
"""Tokenizers in memory. That of the large models takes some hundred megabytes."""

CountTokens = Callable[[str], int]


class TokenCounter:
    """Holds the tokenizers of the models asked for last."""

    def __init__(self) -> None:
        self._held: dict[tuple[Path, int], Tokenizer] = {}

    def of(self, model: InstalledModel) -> CountTokens | None:
        """Counts a text's tokens, the end mark among them. None for a model whose tokenizer is not in one file."""
        path = model.folder / "tokenizer" / "tokenizer.json"
        try:
            key = path, path.stat().st_mtime_ns
        except OSError:
            return None
        tokenizer = self._held.pop(key, None) or _load(path)
        if tokenizer is None:
            return None
        self._held[key] = tokenizer
        for oldest in list(self._held)[:-MAX_HELD]:
            self._held.pop(oldest, None)
        return lambda text: len(tokenizer.encode(_clean(text)).ids)


def _load(path: Path) -> Tokenizer | None:
    from tokenizers import Tokenizer  # here: only prompts need it

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception:  # noqa: BLE001 (tokenizers raises nothing narrower; the text encoder will say what is wrong)
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _clean(text: str) -> str:
    """As diffusers' Wan pipelines do before they tokenize."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()
