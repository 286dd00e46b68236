"""A grid over any settings: `guidance=3,4,5`, `lora:anna=0.6,0.8,1`, and `{red|blue}` in a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from wan_pipeline.errors import RequestError, UserError
from wan_pipeline.requests import options
from wan_pipeline.requests.grids.grid import MAX_CLIPS, seeds_in
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.requests.resolve import seed_of
from wan_pipeline.wording import plural

LORA = "lora:"
SETTINGS = tuple(
    option.name
    for option in options.OPTIONS
    if option not in options.FILES and option.name not in ("prompt", "prompt-before", "prompt-after", "negative-prompt")
)
"""Settings that an axis may have: not texts, which may hold commas, nor files."""
_OPTIONS = {option.name: option for option in options.OPTIONS}
_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")

Change = Callable[[Draft], Draft]


@dataclass(frozen=True)
class Axis:
    """One direction of a grid: the values of one setting."""

    name: str
    """As it was written: `guidance`, `lora:anna`."""
    changes: tuple[tuple[str, Change], ...]
    """Each value with what it does to a draft."""


def axis(text: str) -> Axis:
    """Read one axis: NAME=VALUE,VALUE or lora:NAME=WEIGHT,WEIGHT. Raises RequestError."""
    name, equals, values = text.strip().partition("=") if not text.startswith(LORA) else _lora_axis(text)
    name = name.strip()
    parts = [part.strip() for part in values.split(",") if part.strip()]
    if not equals or not parts:
        raise RequestError("grid", f"The grid '{text[:60]}' cannot be read; write it as guidance=3,4,5.")
    if name.startswith(LORA):
        return Axis(name, tuple((part, _lora_change(name.removeprefix(LORA), part)) for part in parts))
    if name == "seed":
        return Axis(name, tuple((str(seed), _change("seed", seed)) for seed in seeds_in(values)))
    if name not in SETTINGS:
        known = ", ".join((*SETTINGS, "lora:NAME"))
        raise RequestError("grid", f"'{name[:60]}' is no setting of a grid; use one of: {known}.")
    option = _OPTIONS[name]
    return Axis(name, tuple((part, _change(option.field, option.parse(part))) for part in parts))


def variations(base: Draft, axes: Sequence[Axis]) -> list[Draft]:
    """Every combination of the axes' values, and of the choices in the prompt; drafts that are equal come once.

    Without a seed all get the same random one, so that they can be compared. Raises RequestError for more than
    MAX_CLIPS clips, and for an axis that is given twice.
    """
    names = [each.name for each in axes]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise RequestError("grid", f"There are two grids over {double}; put all its values into one.")
    prompts = prompts_of(base.prompt)
    count = len(prompts)
    for each in axes:
        count *= len(each.changes)
    if count > MAX_CLIPS:
        raise RequestError("grid", f"That makes {plural(count, 'clip')}; at most {MAX_CLIPS:,} at once: take fewer.")
    base = replace(base, seed=seed_of(base))
    drafts = []
    for prompt, values in product(prompts, product(*(each.changes for each in axes))):
        draft = replace(base, prompt=prompt)
        for _, change in values:
            draft = change(draft)
        drafts.append(draft)
    return list(dict.fromkeys(drafts))


def prompts_of(prompt: str) -> list[str]:
    """The prompts that `{red|blue}` expands to, each choice with each. Raises RequestError for too many."""
    choices = [match[1].split("|") for match in _CHOICE.finditer(prompt)]
    count = 1
    for each in choices:
        count *= len(each)
    if count > MAX_CLIPS:
        raise RequestError("prompt", f"The prompt's choices make {count:,} prompts; use at most {MAX_CLIPS:,}.")
    return list(dict.fromkeys(_filled(prompt, chosen) for chosen in product(*choices)))


def _filled(prompt: str, chosen: Sequence[str]) -> str:
    values: Iterator[str] = iter(chosen)
    return _CHOICE.sub(lambda _: next(values).strip(), prompt)


def _lora_axis(text: str) -> tuple[str, str, str]:
    """A LoRA's name may hold "=", so the last one parts it from its weights."""
    return text.strip().rpartition("=")


def _change(field: str, value: Any) -> Change:
    return lambda draft: replace(draft, **{field: value})


def _lora_change(name: str, weight: str) -> Change:
    """Give a LoRA another weight, or add it; a weight of 0 leaves it out."""
    try:
        choice = options.lora(f"{name}={weight}")
    except UserError as error:
        raise RequestError("grid", str(error)) from error

    def change(draft: Draft) -> Draft:
        loras = draft.loras or ()
        others: tuple[LoraChoice, ...] = tuple(lora for lora in loras if lora.name.casefold() != name.casefold())
        return replace(draft, loras=others if choice.weights == (0.0, 0.0) else (*others, choice))

    return change
