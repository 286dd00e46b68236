"""What `@anna` in a prompt brings into a clip: words, a LoRA, pictures, as far as the model can use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

from wan_pipeline.errors import LoraError
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.limits import MAX_REFERENCES
from wan_pipeline.requests.prompts.characters import MENTION, Character, find_character, mentions
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.wording import listed

UseLora = Callable[[LoraChoice], str]
"""The trigger word of a LoRA, or "" for none. Raises LoraError for one that the model cannot use."""
Named = list[tuple[str, Character]]


@dataclass(frozen=True)
class Casting:
    """A draft with what its prompt's characters bring into it."""

    draft: Draft
    """Its prompt says what the characters look like, and its LoRAs are with theirs."""
    image: str | None = None
    """The picture to start from, by its name among the workspace's input files."""
    references: tuple[str, ...] = ()
    """Reference images, beside those of the draft."""
    notes: tuple[str, ...] = ()
    """What the model cannot use, a sentence each."""


def cast(
    draft: Draft,
    characters: Mapping[str, Character],
    spec: ModelSpec,
    loras: tuple[LoraChoice, ...],
    use_lora: UseLora,
) -> Casting:
    """Bring in what the draft's prompt names. `loras` are those that the clip has without it."""
    found = {name: find_character(characters, name) for name in mentions(draft.prompt)}
    if not found:
        return Casting(draft)
    named: Named = list({each[0]: each for each in found.values() if each}.values())
    triggers, brought, notes = _loras(named, spec, loras, use_lora)
    image, references, unused = _pictures(named, draft, spec)
    words = {name: _words(*each, triggers) for name, each in found.items() if each}
    prompt = MENTION.sub(lambda mention: words.get(mention[1], mention[0]), draft.prompt)
    unknown = _unknown([name for name, each in found.items() if each is None], characters)
    draft = replace(draft, prompt=prompt, loras=(*loras, *brought) if brought else draft.loras)
    return Casting(draft, image, references, (*unknown, *notes, *unused))


def _words(name: str, character: Character, triggers: Mapping[str, str]) -> str:
    """What the prompt says in place of a name."""
    words, trigger = character.sentence.strip().rstrip(".") or name, triggers.get(name, "")
    return words if not trigger or trigger.casefold() in words.casefold() else f"{trigger}, {words}"


def _loras(
    named: Named, spec: ModelSpec, own: Iterable[LoraChoice], use_lora: UseLora
) -> tuple[dict[str, str], list[LoraChoice], list[str]]:
    """The trigger words by character, the LoRAs that come in, and what cannot. One that is there keeps its weight."""
    triggers: dict[str, str] = {}
    brought: dict[str, LoraChoice] = {}
    notes, there = [], {lora.name.casefold() for lora in own}
    for name, character in named:
        if (lora := character.lora) is None:
            continue
        try:
            triggers[name] = use_lora(lora)
            is_usable = not lora.is_by_expert or spec.guidance_scale_2 is not None
        except LoraError:
            is_usable = False
        if not is_usable:
            notes.append(f"The LoRA of @{name} is left out: {spec.title} cannot use it, or its file is not here.")
        elif lora.name.casefold() not in there:
            brought.setdefault(lora.name.casefold(), lora)
    return triggers, list(brought.values()), notes


def _pictures(named: Named, draft: Draft, spec: ModelSpec) -> tuple[str | None, tuple[str, ...], list[str]]:
    """The first image and the reference images that the model takes, and what it does not.

    A model that can do without a picture starts from that of a character only where no LoRA shows it.
    """
    shown = [(name, each) for name, each in named if each.pictures]
    if spec.takes_control:
        return None, *_references(shown, draft, spec)
    if Mode.IMAGE_TO_VIDEO not in spec.modes:
        return None, (), _unused(shown, f"{spec.title} takes no pictures")
    if draft.image:
        return None, (), _unused(shown, "the clip starts from a picture of its own")
    starts = [(name, each) for name, each in shown if spec.needs_image or each.lora is None]
    if not starts:
        return None, (), []
    name, first = starts[0]
    left = [(other, each) for other, each in shown if other != name]
    return first.pictures[0], (), _unused(left, f"{spec.title} starts from one picture, that of @{name}")


def _references(named: Named, draft: Draft, spec: ModelSpec) -> tuple[tuple[str, ...], list[str]]:
    """The first picture of each, then the second of each, as many as there is room for."""
    rounds = zip_longest(*(character.pictures for _, character in named))
    pictures = list(dict.fromkeys(picture for each in rounds for picture in each if picture))
    room = max(MAX_REFERENCES - len(draft.reference_images), 0)
    left = len(pictures) - room
    text = f"{left} of the pictures of {_at(named)} are not used: {spec.title} takes {MAX_REFERENCES} reference images."
    return tuple(pictures[:room]), [text] if left > 0 else []


def _unused(named: Named, why: str) -> list[str]:
    return [f"Pictures of {_at(named)} are not used: {why}."] if named else []


def _unknown(names: list[str], characters: Mapping[str, Character]) -> list[str]:
    if not names:
        return []
    known = f"it has {listed([f'@{name}' for name in characters])}" if characters else "it has none yet"
    told = listed([f"@{name[:40]}" for name in names[:4]])
    return [f"{told} is read as text: the project has no character or place of that name; {known}."]


def _at(named: Named) -> str:
    return listed([f"@{name}" for name, _ in named])
