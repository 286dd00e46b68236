"""What a sound is to be, and a prompt for it from that of the clip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import randrange
from typing import Annotated

from pydantic import Field

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import ModelSpec, SoundFacts
from wan_pipeline.requests.limits import MAX_PROMPT_CHARACTERS, MAX_RANDOM_SEED, MAX_SEED, Name, Seed, Text

SHORTEST = 0.5
"""Seconds."""
LOOKS = re.compile(
    r"\b(cinematic|photo\w*|camera|lens|bokeh|close-?up|shot|angle|zoom\w*|pan(ning)?|dolly|tracking|depth of field|"
    r"light\w*|lit|colou?r\w*|palette|grad\w*|grain|style|render\w*|resolution|\d+k|hd|hdr|\d+ ?mm|detailed|quality|"
    r"masterpiece|composition|silhouett\w*|shadow\w*|slow motion|time-?lapse)\b",
    re.IGNORECASE,
)
"""Words of a part of a prompt that says how the picture looks, which nobody hears."""


@dataclass(frozen=True)
class SoundRequest:
    """A sound to make; its numbers are checked by `resolve_sound`."""

    model: Name
    prompt: Text
    seconds: Annotated[float, Field(gt=0, le=3600)]
    seed: Seed


def resolve_sound(spec: ModelSpec, prompt: str, seconds: float, seed: int | None = None) -> SoundRequest:
    """A sound that the model can make; without a seed it gets a random one. Raises RequestError."""
    sound = facts_of(spec)
    text = " ".join(prompt.split())
    if not text:
        raise RequestError("prompt", f"There is no prompt; for {spec.title}, it {_lower(sound.prompt_help)}")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise RequestError("prompt", f"The prompt has {len(text):,} characters; use at most {MAX_PROMPT_CHARACTERS:,}.")
    if not SHORTEST <= seconds <= sound.max_seconds:
        limits = f"choose {SHORTEST:g} to {sound.max_seconds:g} s"
        raise RequestError("seconds", f"{seconds:g} s is no length that {spec.title} makes; {limits}.")
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise RequestError("seed", f"The seed {seed} is not possible; choose 0 to {MAX_SEED}.")
    return SoundRequest(spec.id, text, seconds, randrange(MAX_RANDOM_SEED + 1) if seed is None else seed)


def fitting_seconds(spec: ModelSpec, clip_seconds: float) -> float:
    """The clip's length, as near as the model comes to it."""
    return min(max(clip_seconds, SHORTEST), facts_of(spec).max_seconds)


def propose_prompt(spec: ModelSpec, clip_prompt: str) -> str:
    """A prompt for the sound of a clip: what its prompt says is there, without how it looks. Empty for speech."""
    proposal = facts_of(spec).proposal
    parts = re.split(r"[,;.\n]+", clip_prompt)
    scene = ", ".join(part for text in parts if (part := text.strip()) and not LOOKS.search(part))
    return proposal.format(scene=_lower(scene)) if proposal and scene else ""


def facts_of(spec: ModelSpec) -> SoundFacts:
    """Raises RequestError for a model that makes no sound."""
    if spec.sound is None:
        raise RequestError("model", f"{spec.title} makes clips and no sound; choose a model for sound.")
    return spec.sound


def _lower(text: str) -> str:
    """For the middle of a sentence. A word in capitals stays."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
