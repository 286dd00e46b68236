"""Weights of one component, in the names of its authors or of diffusers, plain or quantized to 8-bit floats.

They are in one file, or in the shards of a folder. Quantized ones hold for each layer `X.weight` in fp8 and its scale,
`X.scale_weight` or `X.weight_scale`: the layer computes with their product. A file for everything holds a VAE and a
text encoder beside the transformer, under prefixes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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
BESIDE = {"vae": ("vae.", "first_stage_model."), "text_encoder": ("text_encoders.", "cond_stage_model.")}
"""Prefixes of the other components in a file for everything, whose transformer has the first of PREFIXES."""
OTHERS = (*BESIDE["vae"], *BESIDE["text_encoder"], "conditioner.", "clip_vision.")
"""Those, and endings that no model here has."""
EXPERTS = ("high_noise_model", "low_noise_model")
"""Folders of the two experts in the authors' own repositories."""
TIED = ("shared.weight", "encoder.embed_tokens.weight")
"""Two names of the text encoder's token embedding table; a file may have either."""
SCALES = (".scale_weight", ".weight_scale")
UNUSED = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
"""Endings of keys for other programs: scales of activations, and markers."""
DECODED_BYTES = 2**20
"""Bytes of a quantized tensor that are converted at a time."""


@dataclass(frozen=True)
class Stored:
    """The tensors of a file, or of all shards of a folder."""

    name: str
    """Name of the file or folder, for errors."""
    tensors: dict[str, TensorInfo]
    places: dict[str, tuple[Path, int, int]]
    """The file of each tensor, and the offsets of its first byte and of the one past its last."""


@dataclass(frozen=True)
class Source:
    """The weights of one component."""

    stored: Stored
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

    def read(self, name: str) -> Iterator[bytes]:
        """The bytes of a tensor as they are written. Raises ModelError, OSError."""
        if not self.is_decoded(name):
            yield from self._chunks(self.names[name], READ_BYTES)
            return
        stored, scale = self._stored(name), self._scale(name)
        row, start = max(math.prod(stored.shape[1:]), 1), 0
        for chunk in self._chunks(self.names[name], DECODED_BYTES):
            values = decode(chunk, stored.dtype)
            rows = np.arange(start, start + len(values)) // row if len(scale) > 1 else 0
            yield bf16_bytes(values * scale[rows])
            start += len(values)

    def _stored(self, name: str) -> TensorInfo:
        return self.stored.tensors[self.names[name]]

    def _scale(self, name: str) -> Floats:
        """One for the tensor, or one for each of its rows."""
        if name not in self.scales:
            return np.ones(1, np.float32)
        scale = self.scales[name]
        return decode(b"".join(self._chunks(scale, READ_BYTES)), self.stored.tensors[scale].dtype)

    def _chunks(self, stored_name: str, at_most: int) -> Iterator[bytes]:
        path, start, end = self.stored.places[stored_name]
        with path.open("rb") as content:
            content.seek(start)
            while start < end:
                chunk = content.read(min(at_most, end - start))
                if not chunk:
                    raise ModelError(f"{path.name} became shorter while it was read; download it again.")
                start += len(chunk)
                yield chunk


def check_weights(path: Path) -> Header:
    """The header of a file. Raises ModelError if it is no complete safetensors file, saying what it is instead."""
    try:
        return read_header(path)
    except (DamagedFileError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {with_remedy(error, 'download it again')}.") from error


def transformer_paths(paths: Sequence[Path]) -> list[Path]:
    """The files or folders, one for each transformer: of a folder with both experts the two within it."""
    if len(paths) == 1 and all((paths[0] / expert).is_dir() for expert in EXPERTS):
        return [paths[0] / expert for expert in EXPERTS]
    return list(paths)


def read_stored(path: Path) -> Stored:
    """The tensors of a file, or of the shards in a folder. Raises ModelError."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise ModelError(f"{path.name} holds no .safetensors files; choose the folder with the transformer's shards.")
    headers = {file: check_weights(file) for file in files}
    return Stored(
        path.name,
        {name: info for header in headers.values() for name, info in header.tensors.items()},
        {name: (file, *span) for file, header in headers.items() for name, span in header.spans.items()},
    )


def read_source(stored: Stored, base: InstalledModel, component: str = "transformer") -> Source:
    """The tensors, if they are those of the transformer `component` of `base`. Raises ModelError."""
    base.config(component)  # it is copied later, so it has to be there
    source = _source(stored, _names(stored))
    _check_known_numbers(source)
    _check_same_tensors(source, base, base.tensors(component))
    return source


def read_beside(stored: Stored, base: InstalledModel, warn: Callable[[str], None]) -> dict[str, Source]:
    """The other components in the file, if they are those of `base`; `warn` gets a sentence for one that is not."""
    if not _is_for_everything(stored):
        return {}
    found: dict[str, Source] = {}
    for component, prefixes in BESIDE.items():
        names = {_bare(name, prefixes): name for name in stored.tensors if name.startswith(prefixes)}
        if not names:
            continue
        try:
            found[component] = _component(stored, names, base, component)
        except ModelError as error:
            warn(f"The {component.replace('_', ' ')} is that of {base.spec.title}: {error}")
    return found


def _component(stored: Stored, names: dict[str, str], base: InstalledModel, component: str) -> Source:
    wanted = base.tensors(component)
    known = _vae_names(names) if component == "vae" and "decoder.middle.0.residual.0.gamma" in names else names
    if component == "text_encoder":
        known = {re.sub(r"^.*?(?=(shared|encoder)\.)", "", name): old for name, old in names.items()}
        table = next((known[name] for name in TIED if name in known), None)
        known = {name: table for name in TIED if table is not None and name in wanted} | known
    source = _source(stored, known)
    for name, info in wanted.items():
        if name not in source.names or source.info(name).shape != info.shape:
            raise ModelError(f"that in {stored.name} is another one, for its {name} is missing or of another size.")
    scale_of = {source.names[name]: scale for name, scale in source.scales.items() if name in source.names}
    own_names = {name: source.names[name] for name in wanted}
    scales = {name: scale_of[old] for name, old in own_names.items() if old in scale_of}  # of both names of a table
    own = Source(stored, own_names, scales)
    _check_known_numbers(own)
    return own


def _vae_names(names: dict[str, str]) -> dict[str, str]:
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers  # here: it imports torch

    renamed: dict[str, str] = convert_wan_vae_to_diffusers(  # it only moves values
        {re.sub(r"^decoder\.upsamples\.(\d+)\.shortcut\.", _shortcut, name): old for name, old in names.items()}
    )
    return renamed


def _shortcut(found: re.Match[str]) -> str:
    """Diffusers' name of a shortcut; its own conversion knows those of one size of the VAE. A level has four parts."""
    level, place = divmod(int(found[1]), 4)
    return f"decoder.up_blocks.{level}.resnets.{place}.conv_shortcut."


def _source(stored: Stored, names: dict[str, str]) -> Source:
    """`names`: the file's name of each tensor, scales and markers among them, by diffusers' name."""
    used = {name: old for name, old in names.items() if not name.endswith(UNUSED)}
    scales = {_scaled(name): old for name, old in used.items() if name.endswith(SCALES)}
    return Source(stored, {name: old for name, old in used.items() if not name.endswith(SCALES)}, scales)


def _names(stored: Stored) -> dict[str, str]:
    """The file's name of each tensor, by diffusers' name. Diffusers itself converts the names of the Wan authors.

    Raises ModelError.
    """
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers  # here: it imports torch

    bare = {_bare(name, PREFIXES): name for name in _own(stored)}
    if any(".attn1." in name for name in bare):
        return bare
    if any("motion_encoder" in name or "face_adapter" in name for name in bare):
        raise ModelError(f"{stored.name} is a Wan Animate transformer, which cannot be used yet; choose another file.")
    renamed: dict[str, str] = convert_wan_transformer_to_diffusers(dict(bare))  # it only moves values
    return {
        name.replace("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"): old
        for name, old in renamed.items()
    }


def _own(stored: Stored) -> list[str]:
    """The names of the transformer's tensors, without those of the other models in a file for everything."""
    is_alone = not _is_for_everything(stored)
    return [name for name in stored.tensors if is_alone or not name.startswith(OTHERS)]


def _is_for_everything(stored: Stored) -> bool:
    return any(name.startswith(PREFIXES[0]) for name in stored.tensors)


def _bare(name: str, prefixes: Sequence[str]) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


def _scaled(name: str) -> str:
    """The weight that a scale is for."""
    return name.rpartition(".")[0] + ".weight"


def _check_known_numbers(source: Source) -> None:
    kinds = {source.stored.tensors[old].dtype for old in source.names.values()} - FLOATS - FP8
    if kinds:
        raise _quantized(source, ", ".join(sorted(kinds)))
    for name, old in source.scales.items():
        scale, weight = source.stored.tensors[old], source.names.get(name)
        rows = source.stored.tensors[weight].shape[:1] if weight else ()
        if not weight or scale.dtype not in FLOATS or math.prod(scale.shape) not in (1, *rows):
            raise _quantized(source, f"{old[:80]} is no scale of a layer or of its rows")


def _quantized(source: Source, reason: str) -> ModelError:
    return ModelError(
        f"{source.stored.name} was quantized for another program ({reason}); "
        "choose the BF16, FP16 or fp8_scaled file, and the studio quantizes it itself."
    )


def _check_same_tensors(source: Source, base: InstalledModel, wanted: dict[str, TensorInfo]) -> None:
    file, title = source.stored.name, base.spec.title
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
