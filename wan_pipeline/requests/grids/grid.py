"""A grid of clips: prompts x presets x seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from wan_pipeline.errors import RequestError
from wan_pipeline.requests.limits import MAX_SEED
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolve import seed_of
from wan_pipeline.wording import plural

MAX_CLIPS = 1000


def grid(
    base: Draft, prompts: Sequence[str], seeds: Sequence[int] = (), presets: Sequence[str | None] = ()
) -> list[Draft]:
    """Every prompt in every preset with every seed; the rest, and what is empty, comes from `base`.

    Without seeds each prompt gets a random one, the same in all presets, so that these can be compared. Raises
    RequestError for more than MAX_CLIPS clips.
    """
    count = max(len(prompts), 1) * max(len(seeds), 1) * max(len(presets), 1)
    if count > MAX_CLIPS:
        raise RequestError("prompt", f"That makes {plural(count, 'clip')}; at most {MAX_CLIPS:,} at once: take fewer.")
    clips = []
    for prompt in prompts or (base.prompt,):
        own_seeds = seeds or (seed_of(base),)
        for preset in presets or (base.preset,):
            clips += [replace(base, prompt=prompt, preset=preset, seed=seed) for seed in own_seeds]
    return clips


def prompts_in(text: str) -> list[str]:
    """The prompts of a text, one a line; empty lines are skipped."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def seeds_in(text: str) -> list[int]:
    """The seeds of a text such as "1-5, 9 12". Raises RequestError."""
    seeds: list[int] = []
    parts = [part for part in re.split(r"[,;\s]+", re.sub(r"\s*-\s*", "-", text.strip())) if part]
    if len(parts) > MAX_CLIPS:
        raise RequestError("seed", f"There are {len(parts):,} seeds and ranges; use at most {MAX_CLIPS:,}.")
    for part in parts:
        match = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", part, re.ASCII)
        if match is None:
            raise RequestError("seed", f"The seeds '{part[:80]}' cannot be read; write them as 1-5, 9.")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= MAX_SEED or last - first >= MAX_CLIPS:
            raise RequestError(
                "seed", f"The seeds {part} are out of range; use up to {MAX_CLIPS:,} from 0 to {MAX_SEED:,}."
            )
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))
