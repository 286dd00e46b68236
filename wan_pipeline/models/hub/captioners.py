"""The vision-language models in the Hugging Face cache, which can write captions. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache

from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

PREFIX = "models--"
WRITES_TEXT = "ForConditionalGeneration"
"""End of the names of transformers' classes that write text of what they are given."""


@dataclass(frozen=True)
class _Config:
    """What the configuration of a model of transformers says of it."""

    architectures: tuple[str, ...] = ()
    vision_config: dict[str, Any] | None = None


def captioners() -> list[str]:
    """Names of the repositories in the cache whose models describe pictures, sorted."""
    return sorted(_found(Path(constants.HF_HUB_CACHE)))


def _found(cache: Path) -> Iterator[str]:
    for folder in cache.glob(f"{PREFIX}*"):
        name = folder.name.removeprefix(PREFIX).replace("--", "/", 1)
        config = try_to_load_from_cache(name, "config.json", cache_dir=cache)
        if isinstance(config, str) and _describes(Path(config)):
            yield name


def _describes(path: Path) -> bool:
    """Whether the configuration at this path is that of a model that describes pictures, with weights beside it."""
    try:
        config = parse(_Config, read_json_file(path))
    except (OSError, OutsideDataError):  # of another kind, such as a pipeline of diffusers
        return False
    has_weights = any(path.parent.glob("*.safetensors"))
    return (
        has_weights and bool(config.vision_config) and any(each.endswith(WRITES_TEXT) for each in config.architectures)
    )
