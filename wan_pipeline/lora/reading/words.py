"""What trainers note in a LoRA's metadata for people: its base model and its trigger words. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from wan_pipeline.lora.reading.keys import KeyParts, Role
from wan_pipeline.models.memory import DEMO_MEMORY, WAN_1_3B, WAN_5B, WAN_14B
from wan_pipeline.models.weights import Header
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

MAX_WORDS = 12
MAX_LENGTH = 120
"""Length of a base or of a trigger, in characters."""
_BASE_KEYS = ("modelspec.architecture", "ss_base_model_version", "base_model", "ss_base_model")
"""Keys of the Stability model metadata standard, of kohya's and related trainers, and of the Hub."""
_WORD_KEYS = ("modelspec.trigger_phrase", "trigger_phrase", "trigger_words", "trigger_word", "ss_trigger_words")
_TAGS_KEY = "ss_tag_frequency"
"""How often each tag is in the captions of each folder, as JSON (kohya's `train_network.py`)."""
_WIDTHS = {
    WAN_1_3B.width: "Wan 1.3B",
    WAN_14B.width: "Wan 14B",
    WAN_5B.width: "Wan 5B",
    DEMO_MEMORY.width: "demo",
}
"""Models by the hidden size of their transformers."""

_Tags = dict[str, dict[str, Annotated[int, Field(ge=0)]]]


def base_of(header: Header, parts: Mapping[str, KeyParts]) -> str:
    """The model that a file was made for: what it says, or the models of the width that its shapes fit; or nothing."""
    said = next((line for key in _BASE_KEYS if (line := _line(header.metadata.get(key, "")))), "")
    widths = Counter(_widths(header, parts)).most_common(1)
    return said or (_WIDTHS.get(widths[0][0], "") if widths else "")


def trigger_words(metadata: dict[str, str]) -> tuple[str, ...]:
    """What to put into a prompt: what the trainer noted, or the tags that every caption of its pictures has."""
    said = next((line for key in _WORD_KEYS if (line := metadata.get(key, "").strip())), "")
    words = _listed(said) if said else _common_tags(metadata.get(_TAGS_KEY, ""))
    return tuple(dict.fromkeys(line for word in words if (line := _line(word))))[:MAX_WORDS]


def _listed(text: str) -> list[str]:
    """A JSON list of words, or words with commas."""
    try:
        return parse(list[str], parse_json(text))
    except OutsideDataError:
        return text.split(",")


def _common_tags(text: str) -> list[str]:
    """The tags that are as common as the commonest one."""
    try:
        counts = parse(_Tags, parse_json(text or "{}"))
    except OutsideDataError:
        return []
    total: Counter[str] = Counter()
    for tags in counts.values():
        total.update(tags)
    most = max(total.values(), default=0)
    return [tag for tag, count in total.items() if count == most and most > 1]


def _widths(header: Header, parts: Mapping[str, KeyParts]) -> Iterator[int]:
    """The number of inputs of each layer with two matrices."""
    shapes: dict[str, dict[Role, tuple[int, ...]]] = {}
    for key, (module, role) in parts.items():
        if len(shape := header.tensors[key].shape) >= 2:
            shapes.setdefault(module, {})[role] = shape
    for roles in shapes.values():
        if inner := roles.get(Role.DOWN) or roles.get(Role.HADA_W1_B):
            yield inner[1]
        elif (one := roles.get(Role.LOKR_W1)) and (two := roles.get(Role.LOKR_W2) or roles.get(Role.LOKR_W2_B)):
            yield one[1] * two[1]


def _line(text: str) -> str:
    """A text as one short line."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:MAX_LENGTH]
