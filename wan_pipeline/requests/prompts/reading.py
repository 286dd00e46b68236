"""How a prompt is read: what the text encoder has room for, and words that only look like instructions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wan_pipeline.models.vocabulary.tokens import CountTokens
from wan_pipeline.requests.layers import style_of
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import GenerationRequest

MAX_TAGS = 4
"""Tags of a prompt that are reported."""
MAX_SHOWN = 60
"""Characters of a prompt that a note quotes."""
MAX_WORD = 30
"""Longer runs without a space are taken for a script without spaces, and cut between letters."""

_TAG = re.compile(r"<(?:lora|lyco|lycoris|hypernet):([^:<>]{1,200})(?::([^<>]{0,40}))?>", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d*\.?\d+")
_WEIGHT = re.compile(r"\([^()]{0,200}[^\d()\s]\s*:\s*[+-]?(?:\d?\.\d+|[0-2])\s*\)")


@dataclass(frozen=True)
class LoraTag:
    """`<lora:name:weight>` in a prompt, as other programs write it. Here it is words."""

    text: str
    """All of it."""
    wanted: str
    lora: str | None
    """The LoRA of the library that it seems to mean."""
    weight: str
    """A number as it was typed; empty without one."""


def lora_tags(prompt: str, loras: Sequence[str]) -> list[LoraTag]:
    """The tags of a prompt; `loras` are the names in the library."""
    return [
        LoraTag(tag[0], tag[1], _matching(tag[1], loras), tag[2] if _NUMBER.fullmatch(tag[2] or "") else "")
        for tag in _TAG.finditer(prompt)
    ]


def without_tag(prompt: str, tag: LoraTag) -> str:
    """The prompt without a tag, and without the gap or the doubled comma that it leaves."""
    before, _, after = prompt.partition(tag.text)
    before, after = before.rstrip(), after.lstrip()
    if not before or before.endswith(","):
        after = after.lstrip(", ")
    return f"{before}{'' if not after or not before or after[0] in ',.;:!?' else ' '}{after}"


def read_prompt(
    request: GenerationRequest, preset: Preset | None, count: CountTokens | None, limit: int, loras: Sequence[str]
) -> GenerationRequest:
    """Cut the user's prompt, and not the style, to what the text encoder reads, and note what will not be read.

    `limit` is in tokens; `count` is None if they cannot be counted. `loras` are the names in the library.
    """
    notes = [*_tag_notes(request.prompt, loras), *_weight_notes(request.prompt)]
    if count is None:
        return replace(request, notes=tuple(notes))
    styled, length = request.styled_prompt, count(request.styled_prompt)
    if length > limit:
        style = style_of(preset, request.prompt_before, request.prompt_after)
        read = fitting(request.prompt, style, count, limit)
        styled = style(read)
        notes.append(_unread(request.prompt, read, f"{length:,} tokens{_around(request, preset)}", limit))
    if request.uses_guidance and (length := count(request.negative_prompt)) > limit:
        notes.append(
            f"The negative prompt has {length:,} tokens and the text encoder reads {limit:,}: its end is not read; "
            "shorten it."
        )
    return replace(request, styled_prompt=styled, notes=tuple(notes))


def fitting(prompt: str, style: Callable[[str], str], count: CountTokens, limit: int) -> str:
    """The longest beginning of a prompt, in whole words, that fits with its style. All of it if the style does not."""
    ends = [0, *_word_ends(prompt)]
    if count(style("")) > limit:
        return prompt
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if count(style(prompt[: ends[middle]])) <= limit:
            low = middle
        else:
            high = middle - 1
    return prompt[: ends[low]]


def _around(request: GenerationRequest, preset: Preset | None) -> str:
    """What is read beside the user's prompt."""
    words = request.prompt_before or request.prompt_after
    parts = [*(["its style"] if preset else []), *(["its project's words"] if words else [])]
    return f" with {' and '.join(parts)}" if parts else ""


def _word_ends(prompt: str) -> list[int]:
    ends: list[int] = []
    for word in re.finditer(r"\S+", prompt):
        if word.end() - word.start() > MAX_WORD:
            inner = range(word.start() + 1, word.end())
            ends += [end for end in inner if not unicodedata.category(prompt[end]).startswith("M")]
        ends.append(word.end())
    return ends


def _unread(prompt: str, read: str, length: str, limit: int) -> str:
    whole = f"The prompt has {length}"
    rest = prompt[len(read) :].strip()
    if not rest:
        return f"{whole} and the text encoder reads {limit:,}: the end of the style is not read; choose another style."
    return f"{whole} and the text encoder reads {limit:,}: it is not read from {_quoted(rest)} on; shorten it."


def _tag_notes(prompt: str, loras: Sequence[str]) -> list[str]:
    return [_tag_note(tag) for tag in lora_tags(prompt, loras)][:MAX_TAGS]


def _tag_note(tag: LoraTag) -> str:
    start = f"{_quoted(tag.text)} is read as words, and chooses no LoRA here; take it out and"
    if tag.lora is None:
        return f"{start} choose a LoRA by --lora or on the page; the folder holds no '{tag.wanted[:40]}'."
    weight = f"={tag.weight}" if tag.weight else ""
    return f"{start} choose the LoRA '{tag.lora}' instead: --lora {tag.lora}{weight}, or on the page under LoRAs."


def _matching(wanted: str, loras: Sequence[str]) -> str | None:
    """The LoRA of that name, else the only one whose name holds it."""
    key = wanted.casefold().removesuffix(".safetensors")
    same = [name for name in loras if name.casefold() == key]
    alike = [name for name in loras if key in name.casefold()]
    return same[0] if same else alike[0] if len(alike) == 1 else None


def _weight_notes(prompt: str) -> list[str]:
    found = [weight[0] for weight in _WEIGHT.finditer(prompt)]
    if not found:
        return []
    listed = ", ".join(map(_quoted, found[:3]))
    verb = "is" if len(found) == 1 else "are"
    return [f"{listed} {verb} read as words: weights have no effect here; write the words without them."]


def _quoted(text: str) -> str:
    shown = " ".join(text.split())
    return f"'{shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + '…'}'"
