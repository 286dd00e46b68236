"""Which small decoders for previews there are: safetensors files that people put into a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from wan_pipeline.engine.decoding.tiny.network import BLOCKS, GROWTH, TinyDecoder, decoder_of
from wan_pipeline.engine.network_files.folder import PICKLES, NetworkFolder
from wan_pipeline.engine.network_files.tensors import fill, read_tensors
from wan_pipeline.errors import ModelError

STAGE_LAYERS = BLOCKS + 3
"""Of each stage, as TAEHV counts them: its blocks, the enlargement, the growth and the narrowing."""
FIRST, STAGES = 1, range(3, 21)
"""Numbers of TAEHV's layers: of the first convolution, and those of the three stages."""
LAST = 22


def previews_in(folder: Path) -> NetworkFolder:
    """The files there; `folder` is that of the settings. The empty name stands for the matrices."""
    return NetworkFolder(folder, "preview decoder", "", "as docs/handover.md shows for RIFE's")


def find_decoder(folder: Path, channels: int, scale: int) -> tuple[TinyDecoder | None, list[str]]:
    """The decoder of the first file that fits a VAE's latents, of so many channels and pixels of a side; and warnings
    about files that cannot be used. About pickles only where no file fits.
    """
    files, warnings = previews_in(folder), []
    for name in (*files.names()[1:], *_pickles(folder)):
        try:
            path = files.find(name)
            decoder = None if path is None else read_decoder(path)
        except ModelError as error:
            warnings.append(str(error))
            continue
        if decoder is not None and (decoder.channels, decoder.scale) == (channels, scale):
            return decoder, warnings
    return None, warnings


def read_decoder(file: Path) -> TinyDecoder:
    """The decoder of a file, on the CPU in float32. Raises ModelError."""
    tensors = new_names(read_tensors(file))
    decoder = decoder_of(tensors)
    if decoder is None:
        raise ModelError(
            f"{file.name} holds no decoder that is known here; use TAEHV's taew2_1 for models with the Wan 2.1 VAE, or "
            "its taew2_2 for the Wan 2.2 5B."
        )
    fill(decoder, tensors, file)
    return decoder.eval()


def new_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The decoder's tensors by the names that they have here; the encoder's are left out."""
    new: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if not name.startswith("encoder."):
            key = _new_name(name)
            new[key] = _last_frames(key, tensor)
    return new


def _pickles(folder: Path) -> Iterator[str]:
    """Pickles that were not converted."""
    files = sorted(folder.glob("*"))
    return (file.name for file in files if file.suffix in PICKLES and not file.with_suffix(".safetensors").exists())


def _new_name(name: str) -> str:
    """Names that TAEHV does not have stay as they are."""
    found = re.fullmatch(r"decoder\.(\d+)\.(.+)", name)
    if found is None:
        return name
    number, rest = int(found[1]), found[2]
    if number in STAGES:
        stage, layer = divmod(number - STAGES.start, STAGE_LAYERS)
        match layer - BLOCKS:
            case 1:
                return f"stages.{stage}.grow.{rest.removeprefix('conv.')}"
            case 2:
                return f"stages.{stage}.narrow.{rest}"
            case _:
                return f"stages.{stage}.blocks.{layer}.{rest}"
    return {FIRST: f"first.{rest}", LAST: f"last.{rest}"}.get(number, name)


def _last_frames(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Of a kernel that makes several frames of one, what makes the last ones that are used; others whole."""
    found = re.fullmatch(r"stages\.([0-2])\.grow\.weight", name)
    return tensor[-GROWTH[int(found[1])] * tensor.shape[1] :] if found and tensor.ndim == 4 else tensor
