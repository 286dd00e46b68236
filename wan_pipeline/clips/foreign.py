"""What can be read of a clip that another program made: its prompt and its seed, from the notes in the file.

Known are a table of settings (`prompt`, `negative_prompt`, `seed`) as JSON in the comment, and a graph of nodes such as
ComfyUI's, in the comment or in a tag named `prompt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wan_pipeline.requests.limits import MAX_PROMPT_CHARACTERS, MAX_SEED
from wan_pipeline.requests.request import Draft
from wan_pipeline.storage.outside import OutsideDataError, parse_json

MAX_DEPTH = 20
"""Nodes between a sampler and its text."""
SEEDS = ("seed", "noise_seed")

Graph = Mapping[str, Any]


def read_foreign(tags: Mapping[str, str]) -> Draft | None:
    """The prompt and seed in a file's tags; None if there are none, or none that can be used here."""
    for name in ("comment", "prompt"):
        found = _of_notes(_table(tags.get(name)))
        if found != Draft():
            return found
    return None


def _of_notes(notes: Graph) -> Draft:
    inner = _table(notes.get("prompt"))
    graph = inner or notes
    nodes = [node for node in graph.values() if isinstance(node, dict) and isinstance(node.get("inputs"), dict)]
    return _of_graph(graph, [node["inputs"] for node in nodes]) if nodes else _draft(notes, notes)


def _of_graph(graph: Graph, nodes: list[dict[str, Any]]) -> Draft:
    sampler = next((node for node in nodes if {"positive", *SEEDS[:1]} <= node.keys()), None)
    sampler = sampler or next((node for node in nodes if "positive" in node), {})
    texts = {
        "prompt": _text(graph, sampler.get("positive"), "positive"),
        "negative_prompt": _text(graph, sampler.get("negative"), "negative"),
    }
    seeds = next((node for node in nodes if any(_is_seed(node.get(name)) for name in SEEDS)), {})
    return _draft(texts, seeds)


def _text(graph: Graph, link: object, side: str, depth: int = 0) -> str:
    """The text at the end of a link, which is a node's name and one of its outputs."""
    if isinstance(link, str):
        return link
    if not (isinstance(link, list) and link and isinstance(link[0], str) and depth < MAX_DEPTH):
        return ""
    node = graph.get(link[0])
    inputs = node.get("inputs") if isinstance(node, dict) else None
    if not isinstance(inputs, dict):
        return ""
    named = (inputs[name] for name in ("text", f"{side}_prompt", "string", "value", side) if name in inputs)
    return _text(graph, next(named, None), side, depth + 1)


def _draft(texts: Mapping[str, Any], seeds: Mapping[str, Any]) -> Draft:
    seed = next((seeds[name] for name in SEEDS if _is_seed(seeds.get(name))), None)
    negative = _usable(texts.get("negative_prompt"))
    return Draft(prompt=_usable(texts.get("prompt")), negative_prompt=negative or None, seed=seed)


def _usable(text: object) -> str:
    return text if isinstance(text, str) and len(text) <= MAX_PROMPT_CHARACTERS else ""


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEED


def _table(value: object) -> dict[str, Any]:
    """A table, or the one that a text holds as JSON; empty if there is none."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except OutsideDataError:
            return {}
    return value if isinstance(value, dict) else {}
