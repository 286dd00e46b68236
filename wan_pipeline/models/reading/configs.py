"""The JSON configurations of a model in diffusers layout, checked as they are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from wan_pipeline.errors import ModelError
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json, read_json_file

INDEX = "model_index.json"
TRANSFORMERS = ("transformer", "transformer_2")
"""The components of the experts, high noise first; most models have only the first."""
CONFIG_SUFFIXES = frozenset({".json", ".model", ".txt"})
"""Suffixes of a component's configuration and tokenizer files."""
MAX_CONFIG_BYTES = 4 * 2**20
"""Largest configuration read. The largest real one, an index of shards, has about 200 KB."""

Config = dict[str, Any]
ReadConfig = Callable[[str], Config]
"""Reads a configuration by its path from the model's top folder, such as `vae/config.json`. Raises ModelError."""

T = TypeVar("T")
Positive = Annotated[int, Field(ge=1, le=2**20)]
FileName = Annotated[str, Field(pattern=r"^[\w.-]+\.safetensors$")]

_COMPONENT = re.compile(r"[A-Za-z]\w*", re.ASCII)


class DamagedModelError(ModelError):
    """A file of an installed model is missing, cut short or malformed."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; put the model's files there again.")
        self.problem = problem


class PipelineConfig(BaseModel):
    """The settings in `model_index.json`."""

    pipeline: str = Field(alias="_class_name", max_length=200)
    expand_timesteps: bool | None = None
    boundary_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the training timesteps above which the high-noise expert denoises; None for one expert."""


@dataclass(frozen=True)
class TransformerConfig:
    """What is needed of the configuration of a WanTransformer3DModel or WanVACETransformer3DModel."""

    patch_size: tuple[Positive, Positive, Positive]
    """Frames, height, width."""
    in_channels: Positive
    out_channels: Positive
    text_dim: Positive
    num_layers: Positive
    num_attention_heads: Positive
    attention_head_dim: Positive
    ffn_dim: Positive
    image_dim: Positive | None = None
    added_kv_proj_dim: Positive | None = None
    pos_embed_seq_len: Positive | None = None
    vace_layers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class VaeConfig:
    """What is needed of the configuration of an AutoencoderKLWan. Scales are None in those of Wan 2.1.

    What a configuration leaves out is as in diffusers, here and below.
    """

    z_dim: Positive
    latents_mean: tuple[float, ...]
    latents_std: tuple[float, ...]
    scale_factor_spatial: Positive | None = None
    scale_factor_temporal: Positive | None = None
    base_dim: Positive = 96
    decoder_base_dim: Positive | None = None
    dim_mult: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=16)] = (1, 2, 4, 4)
    num_res_blocks: Positive = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)

    @property
    def spatial_compression(self) -> int:
        """Pixels per latent, along each side."""
        return self.scale_factor_spatial or 8

    @property
    def temporal_compression(self) -> int:
        """Frames per latent frame, after the first."""
        return self.scale_factor_temporal or 4


@dataclass(frozen=True)
class TextEncoderConfig:
    """Configuration of a UMT5EncoderModel."""

    d_model: Positive
    """Width of the embeddings."""
    vocab_size: Positive = 250_112
    d_kv: Positive = 64
    d_ff: Positive = 1024
    num_layers: Positive = 8
    num_heads: Positive = 6


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Configuration of a CLIPVisionModel."""

    hidden_size: Positive = 768
    intermediate_size: Positive = 3072
    num_hidden_layers: Positive = 12


@dataclass(frozen=True)
class SchedulerConfig:
    flow_shift: Annotated[float, Field(ge=0, le=1000)] | None = None


@dataclass(frozen=True)
class ShardIndex:
    """`*.safetensors.index.json`: in which file each tensor is."""

    weight_map: dict[str, FileName]


def read_config(path: Path) -> Config:
    """A JSON object from a model's folder. Raises DamagedModelError."""
    try:
        return _table(read_json_file(path, MAX_CONFIG_BYTES))
    except (OSError, OutsideDataError) as error:
        raise DamagedModelError(f"{path} cannot be read ({error})") from error


def parse_config(text: bytes, source: str) -> Config:
    """A JSON object from elsewhere; `source` says where, for the error. Raises ModelError."""
    try:
        return _table(parse_json(text, MAX_CONFIG_BYTES))
    except OutsideDataError as error:
        raise ModelError(f"{source} cannot be read: {error}.") from error


def as_kind(kind: type[T], config: Config, title: str, name: str) -> T:
    """A configuration as one of the types above. Raises ModelError naming the model, the file and the key."""
    try:
        return parse(kind, config)
    except OutsideDataError as error:
        raise ModelError(f"{title} cannot be used: {name}: {error}.") from error


def components(index: Config) -> dict[str, str]:
    """Class name of each component in a `model_index.json`, by the component's folder.

    A component is a pair of library and class under a plain name; `[null, null]` is an optional one that is left out,
    and everything else is a setting of the pipeline.
    """
    found = {}
    for name, entry in index.items():
        match entry:
            case [str(), str(kind)] if _COMPONENT.fullmatch(name):
                found[name] = kind
    return found


def _table(value: object) -> Config:
    if not isinstance(value, dict):
        raise OutsideDataError("it is not a table of settings")
    return value
