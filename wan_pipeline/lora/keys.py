"""Maps the keys of LoRA files to modules of diffusers' WanTransformer3DModel. No torch.

Trainers spell the same module in many ways: with or without a prefix, in the names of diffusers or of the Wan authors,
with dots or (kohya) with underscores, as lora_A and lora_B or as lora_down and lora_up. Instead of converting each
dialect, every spelling of every module of a model is listed and looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "lora_unet_",
    "lora_transformer_",
    "unet.",
)

# Replacements that turn diffusers' module names into the authors' (Wan repositories, `wan/modules/model.py`).
AUTHORS_NAMES = (
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.add_([kv])_proj$", r".cross_attn.\1_img"),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])$", r".\1"),
    (r"\.to_out\.0$", ".o"),
    (r"\.ffn\.net\.0\.proj$", ".ffn.0"),
    (r"\.ffn\.net\.2$", ".ffn.2"),
    (r"^condition_embedder\.text_embedder\.linear_1$", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2$", "text_embedding.2"),
    (r"^condition_embedder\.time_embedder\.linear_1$", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2$", "time_embedding.2"),
    (r"^condition_embedder\.time_proj$", "time_projection.1"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj$", "img_emb.proj.1"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.2$", "img_emb.proj.3"),
    (r"^proj_out$", "head.head"),
)

_KEY = re.compile(r"^(.+?)\.(lora_A|lora_B|lora_down|lora_up|alpha|diff_b)(\.[\w-]+)?(\.weight)?$")


class Role(StrEnum):
    """What a tensor of a LoRA file is to its module."""

    DOWN = "down"
    UP = "up"
    ALPHA = "alpha"
    BIAS = "bias"


_ROLES = {
    "lora_A": Role.DOWN,
    "lora_down": Role.DOWN,
    "lora_B": Role.UP,
    "lora_up": Role.UP,
    "alpha": Role.ALPHA,
    "diff_b": Role.BIAS,
}


class KeyParts(NamedTuple):
    module: str
    """As the file spells it."""
    role: Role


def split_key(key: str) -> KeyParts | None:
    """The module and role of a key; None if it is no part of a LoRA."""
    match = _KEY.match(key)
    if match is None or match[3] == ".bias":
        return None
    return KeyParts(match[1], _ROLES[match[2]])


class Spellings:
    """Finds a model's modules by any of their spellings."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._modules = {spelling: module for module in modules for spelling in _spellings(module)}

    def find(self, name: str) -> str | None:
        """Diffusers' name of the module that a LoRA file calls `name`; None if the model has no such module."""
        return next((self._modules[bare] for bare in _without_prefixes(name) if bare in self._modules), None)


def _spellings(module: str) -> Iterator[str]:
    theirs = module
    for pattern, replacement in AUTHORS_NAMES:
        theirs = re.sub(pattern, replacement, theirs)
    for name in (module, theirs):
        yield name
        yield name.replace(".", "_")


def _without_prefixes(name: str) -> Iterator[str]:
    """The name, and what is left of it as prefixes are removed, one after another: they occur nested."""
    yield name
    for prefix in PREFIXES:
        if name.startswith(prefix):
            yield from _without_prefixes(name.removeprefix(prefix))
