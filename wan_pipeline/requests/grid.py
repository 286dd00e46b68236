"""Many clips from a few words: prompts x presets x seeds."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from wan_pipeline.errors import RequestError
from wan_pipeline.requests.limits import MAX_SEED
from wan_pipeline.requests.request import Draft

MAX_CLIPS = 1000


def grid(
    base: Draft, prompts: Sequence[str], seeds: Sequence[int] = (), presets: Sequence[str | None] = ()
) -> list[Draft]:
    """Every prompt in every preset with every seed, all else as in `base`; what is left empty is taken from there.

    Without any seed, each prompt gets a random one, the same in all presets, so that they can be compared. Raises
    RequestError for more than MAX_CLIPS.
    """
    count = max(len(prompts), 1) * max(len(seeds), 1) * max(len(presets), 1)
    if count > MAX_CLIPS:
        raise RequestError("prompt", f"That makes {count:,} clips; at most {MAX_CLIPS:,} at once: take fewer.")
    clips = []
    for prompt in prompts or (base.prompt,):
        its_seeds = seeds or (random.randint(0, MAX_SEED) if base.seed is None else base.seed,)
        for preset in presets or (base.preset,):
            clips += [replace(base, prompt=prompt, preset=preset, seed=seed) for seed in its_seeds]
    return clips


def prompts_in(text: str) -> list[str]:
    """One prompt a line; empty lines are passed over."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def seeds_in(text: str) -> list[int]:
    """The seeds of a text such as "1-5, 9 12". Raises RequestError."""
    seeds: list[int] = []
    for part in re.split(r"[,;\s]+", re.sub(r"\s*-\s*", "-", text.strip())):
        if not part:
            continue
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part, re.ASCII)
        if match is None:
            raise RequestError("seed", f"The seeds '{part[:80]}' cannot be read; write them as 1-5, 9.")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= MAX_SEED or last - first >= MAX_CLIPS:
            raise RequestError(
                "seed", f"The seeds {part} are out of range; use up to {MAX_CLIPS:,} from 0 to {MAX_SEED:,}."
            )
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))
