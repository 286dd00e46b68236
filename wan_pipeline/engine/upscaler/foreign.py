"""Networks of other people's files, read by spandrel: ESRGAN and its kin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from wan_pipeline.engine.upscaler.network import resized
from wan_pipeline.errors import ModelError


def load_foreign(file: Path, factor: int, device: torch.device) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """The network of a safetensors file, ready to enlarge by `factor`. Raises ModelError."""
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError  # here: it brings in torchvision

    try:
        found = ModelLoader(device).load_from_file(file)
    except (UnsupportedModelError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(
            f"{file.name} holds no network that is known here ({' '.join(str(error).split())[:200]}); "
            "use an ESRGAN, a Real-ESRGAN or another that spandrel reads."
        ) from error
    if not isinstance(found, ImageModelDescriptor) or (found.input_channels, found.output_channels) != (3, 3):
        raise ModelError(f"{file.name} is no network that enlarges pictures; choose another file.")
    if found.scale < factor:
        raise ModelError(f"{file.name} enlarges {found.scale} times and not {factor}; choose a smaller factor.")
    _check_weights(file, found.model)
    found.eval()

    def network(frames: torch.Tensor, by: int) -> torch.Tensor:
        large = found(frames)
        return resized(large, frames, by).clamp(0, 1)

    return network


def _check_weights(file: Path, model: Any) -> None:
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        raise ModelError(f"{file.name} holds weights that are no numbers; download it again.")
