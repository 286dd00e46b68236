"""A file that holds one transformer, in the names of its authors or of diffusers, plain or quantized to 8-bit floats.

Such files hold for each layer `X.weight` in fp8 and its scale, `X.scale_weight` or `X.weight_scale`: the layer computes
with their product. A file for everything holds a VAE and text encoders too, under prefixes; those of the model that
it was made from are used instead, which are the same in full precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wan_pipeline.errors import ModelError
from wan_pipeline.models.importing.floats import FLOATS, FP8, Floats, bf16_bytes, decode
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.models.transfer import READ_BYTES
from wan_pipeline.models.weights import (
    BYTES_OF,
    DamagedFileError,
    Header,
    TensorInfo,
    read_header,
    with_remedy,
)

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
BESIDE = ("vae.", "first_stage_model.", "text_encoders.", "cond_stage_model.", "conditioner.", "clip_vision.")
"""Prefixes of the other models in a file for everything, whose transformer has the first of PREFIXES."""
SCALES = (".scale_weight", ".weight_scale")
UNUSED = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
"""Endings of what tells other programs how to compute: scales of activations, and markers."""
DECODED_BYTES = 2**20
"""Bytes of a quantized tensor that are converted at a time."""


@dataclass(frozen=True)
class Source:
    """A file with the weights of one transformer."""

    path: Path
    header: Header
    names: dict[str, str]
    """The file's name of each tensor, by diffusers' name."""
    scales: dict[str, str]
    """The file's name of a tensor's scale, by diffusers' name of the tensor."""

    @cached_property
    def total_bytes(self) -> int:
        return sum(self.size(name) for name in self.names)

    def is_decoded(self, name: str) -> bool:
        """Whether a tensor is written as BF16, whatever it is in the file."""
        return name in self.scales or self._stored(name).dtype in FP8

    def info(self, name: str) -> TensorInfo:
        """A tensor as it is written."""
        stored = self._stored(name)
        return TensorInfo("BF16", stored.shape) if self.is_decoded(name) else stored

    def size(self, name: str) -> int:
        """Bytes of a tensor as it is written."""
        info = self.info(name)
        return math.prod(info.shape) * BYTES_OF[info.dtype]

    def read(self, name: str, content: BinaryIO) -> Iterator[bytes]:
        """The bytes of a tensor as they are written, from the open file. Raises ModelError, OSError."""
        if not self.is_decoded(name):
            yield from self._chunks(self.names[name], content, READ_BYTES)
            return
        stored, scale = self._stored(name), self._scale(name, content)
        row, start = max(math.prod(stored.shape[1:]), 1), 0
        for chunk in self._chunks(self.names[name], content, DECODED_BYTES):
            values = decode(chunk, stored.dtype)
            rows = np.arange(start, start + len(values)) // row if len(scale) > 1 else 0
            yield bf16_bytes(values * scale[rows])
            start += len(values)

    def _stored(self, name: str) -> TensorInfo:
        return self.header.tensors[self.names[name]]

    def _scale(self, name: str, content: BinaryIO) -> Floats:
        """One for the tensor, or one for each of its rows."""
        if name not in self.scales:
            return np.ones(1, np.float32)
        scale = self.scales[name]
        return decode(b"".join(self._chunks(scale, content, READ_BYTES)), self.header.tensors[scale].dtype)

    def _chunks(self, stored_name: str, content: BinaryIO, at_most: int) -> Iterator[bytes]:
        start, end = self.header.spans[stored_name]
        content.seek(start)
        while start < end:
            chunk = content.read(min(at_most, end - start))
            if not chunk:
                raise ModelError(f"{self.path.name} became shorter while it was read; download it again.")
            start += len(chunk)
            yield chunk


def check_weights(path: Path) -> Header:
    """The header of a file. Raises ModelError if it is no complete safetensors file, saying what it is instead."""
    try:
        return read_header(path)
    except (DamagedFileError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {with_remedy(error, 'download it again')}.") from error


def read_source(path: Path, base: InstalledModel, component: str = "transformer") -> Source:
    """The file, if it holds the same tensors as the transformer `component` of `base`. Raises ModelError."""
    base.config(component)  # it is copied later, so it has to be there
    header = check_weights(path)
    names = {name: old for name, old in _names(path, header).items() if not name.endswith(UNUSED)}
    scales = {_scaled(name): old for name, old in names.items() if name.endswith(SCALES)}
    source = Source(path, header, {name: old for name, old in names.items() if not name.endswith(SCALES)}, scales)
    _check_known_numbers(source)
    _check_same_tensors(source, base, base.tensors(component))
    return source


def _names(path: Path, header: Header) -> dict[str, str]:
    """The file's name of each tensor, by diffusers' name. Diffusers itself converts the names of the Wan authors.

    Raises ModelError.
    """
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers  # here: it imports torch

    bare = {_bare(name): name for name in _own(header)}
    if any(".attn1." in name for name in bare):
        return bare
    if any("motion_encoder" in name or "face_adapter" in name for name in bare):
        raise ModelError(f"{path.name} is a Wan Animate transformer, which cannot be used yet; choose another file.")
    renamed: dict[str, str] = convert_wan_transformer_to_diffusers(dict(bare))  # it only moves values
    return {
        name.replace("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"): old
        for name, old in renamed.items()
    }


def _own(header: Header) -> list[str]:
    """The names of the transformer's tensors, without those of the other models in a file for everything."""
    if not any(name.startswith(PREFIXES[0]) for name in header.tensors):
        return list(header.tensors)
    return [name for name in header.tensors if not name.startswith(BESIDE)]


def _bare(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _scaled(name: str) -> str:
    """The weight that a scale is for."""
    return name.rpartition(".")[0] + ".weight"


def _check_known_numbers(source: Source) -> None:
    kinds = {source.header.tensors[old].dtype for old in source.names.values()} - FLOATS - FP8
    if kinds:
        raise _quantized(source, ", ".join(sorted(kinds)))
    for name, old in source.scales.items():
        scale, weight = source.header.tensors[old], source.names.get(name)
        rows = source.header.tensors[weight].shape[:1] if weight else ()
        if not weight or scale.dtype not in FLOATS or math.prod(scale.shape) not in (1, *rows):
            raise _quantized(source, f"{old[:80]} is no scale of a layer or of its rows")


def _quantized(source: Source, reason: str) -> ModelError:
    return ModelError(
        f"{source.path.name} was quantized for another program ({reason}); "
        "choose the BF16, FP16 or fp8_scaled file, and the studio quantizes it itself."
    )


def _check_same_tensors(source: Source, base: InstalledModel, wanted: dict[str, TensorInfo]) -> None:
    file, title = source.path.name, base.spec.title
    missing, foreign = sorted(wanted.keys() - source.names.keys()), sorted(source.names.keys() - wanted.keys())
    if len(missing) == len(wanted):
        raise ModelError(
            f"{file} is not a Wan transformer: none of its {len(source.names):,} tensors match {title}; "
            "choose another file."
        )
    if missing:
        raise ModelError(
            f"{file} lacks {len(missing)} tensors of {title}, such as {missing[0]}; "
            "name the model that it was made from with --config."
        )
    if foreign:
        raise ModelError(
            f"{file} has {len(foreign)} tensors that {title} does not have, such as {source.names[foreign[0]][:80]}; "
            "name the model that it was made from with --config."
        )
    for name, info in wanted.items():
        shape = source.info(name).shape
        if shape != info.shape:
            raise ModelError(
                f"{file} was made for a model of another size: {name} is {shape} in it and {info.shape} in {title}; "
                "name the model that it was made from with --config."
            )
