"""SeedVR2's two files in a folder of a person's: the transformer and the VAE, told apart by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from wan_pipeline.engine.memory.quantize import skeleton
from wan_pipeline.engine.upscaler.seedvr.transformer import FREQUENCIES, Transformer, shape_of
from wan_pipeline.engine.upscaler.seedvr.vae import Vae, widths_of
from wan_pipeline.errors import ModelError
from wan_pipeline.models.weights import DamagedFileError, Header, read_header, with_remedy

TEXT = Path(__file__).parent / "text" / "positive.safetensors"
TRANSFORMER, VAE = "vid_in.proj.weight", "decoder.conv_in.weight"
"""A tensor that each of the two has, and the other has not."""
OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""What diffusers called the attention's layers when the first files were written, and what it calls them now."""
KNOWN = "use SeedVR2's 3B or 7B (seedvr2_ema_3b, seedvr2_ema_7b) with its VAE (ema_vae)"


def load_transformer(folder: Path, dtype: torch.dtype) -> Transformer:
    """On the CPU. Raises ModelError."""
    file, names = _find(folder, TRANSFORMER, "transformer")
    shape = shape_of(names)
    if shape is None:
        raise ModelError(f"{file.name} is a transformer of another kind; {KNOWN}.")
    expected = load_text().shape[1]
    if shape.text_width != expected:
        raise ModelError(f"{file.name} takes texts of {shape.text_width} channels and not {expected}; {KNOWN}.")
    network = skeleton(lambda: Transformer(shape))
    _fill(network, file, dtype)
    assert isinstance(network, Transformer)  # noqa: S101 - a skeleton is what was made
    return network


def load_vae(folder: Path, dtype: torch.dtype) -> Vae:
    """On the CPU. Raises ModelError."""
    file, names = _find(folder, VAE, "VAE")
    widths = widths_of(names)
    if widths is None:
        raise ModelError(f"{file.name} is a VAE of another kind; {KNOWN}.")
    network = skeleton(lambda: Vae(widths))
    _fill(network, file, dtype)
    assert isinstance(network, Vae)  # noqa: S101 - a skeleton is what was made
    return network


def load_text() -> torch.Tensor:
    """What the transformer is told of every clip, (tokens, channels)."""
    text: torch.Tensor = load_file(TEXT)["positive"]
    return text


def _find(folder: Path, name: str, kind: str) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """The one file of a kind, and the shapes of its tensors by their published names."""
    found = []
    for file in sorted(folder.glob("*.safetensors")):
        header = _header(file)
        prefix = next((key.removesuffix(name) for key in header.tensors if key.endswith(name)), None)
        if prefix is not None:
            found.append((file, {_published(key, prefix): info.shape for key, info in header.tensors.items()}))
    if not found:
        raise ModelError(
            f"{folder} has no {kind} of SeedVR2; put both of its files there, the transformer's and the VAE's, "
            "as .safetensors."
        )
    if len(found) > 1:
        files = ", ".join(file.name for file, _ in found)
        raise ModelError(f"{folder} has {len(found)} files with a {kind}: {files}; keep one, or use a folder for each.")
    return found[0]


def _header(file: Path) -> Header:
    try:
        return read_header(file)
    except (DamagedFileError, OSError) as error:
        raise ModelError(f"{file.name} cannot be read: {with_remedy(error, 'download it again')}.") from error


def _fill(network: torch.nn.Module, file: Path, dtype: torch.dtype) -> None:
    """Give a network of the meta device the weights of a file: all of them, and no others."""
    marks = (TRANSFORMER, VAE)
    try:
        with safe_open(file, "pt") as opened:
            keys = list(opened.keys())
            prefix = next(key.removesuffix(name) for name in marks for key in keys if key.endswith(name))
            names = {key: _published(key, prefix) for key in keys}
            tensors = {
                name: opened.get_tensor(key).to(dtype) for key, name in names.items() if not name.endswith(FREQUENCIES)
            }
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file.name} cannot be read: {error}; download it again.") from error
    _assign(network, tensors, file)


def _assign(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file.name} is not whole ({reason}); download it again.") from error
    network.requires_grad_(requires_grad=False)


def _published(key: str, prefix: str) -> str:
    """The name of a tensor in the published file."""
    name = key.removeprefix(prefix)
    for old, new in OLD_NAMES.items():
        name = name.replace(old, new)
    return name
