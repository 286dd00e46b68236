"""The tensors of a foreign safetensors file, and a network that is filled with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from wan_pipeline.errors import ModelError


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """All tensors by their names, on the CPU, in the file's dtypes. Raises ModelError for a file that is damaged."""
    try:
        tensors: dict[str, torch.Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file.name} cannot be read: {error}; download it again.") from error
    return tensors


def fill(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Give a network of the meta device the weights of a file, in float32.

    Raises ModelError if one is missing, too many or of another shape, and for weights that are no numbers.
    """
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file.name} is not whole ({reason}); download it again.") from error
    network.float()
    if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
        raise ModelError(f"{file.name} holds weights that are no numbers; download it again.")
