"""A clip's frames before they are rounded: its kept latents, decoded again by the same code at the same plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray

from wan_pipeline.engine.decode import decoded_pieces
from wan_pipeline.engine.device.cpu_convolution import use_onednn
from wan_pipeline.engine.device.deterministic import deterministic
from wan_pipeline.engine.device.placement import Placement, choose_placement, is_out_of_memory, limit_memory
from wan_pipeline.engine.latents import unpack
from wan_pipeline.engine.load import load_component, quiet_libraries
from wan_pipeline.errors import GenerationError
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.planning.memory_plan import is_plan, read_plan
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings

Write = Callable[[NDArray[np.float32]], None]
"""Takes frames (t, H, W, 3) from -1 to 1, in order."""


def decode_master(
    settings: Settings, model: str, content: bytes, plan: str, observer: Observer, write: Write, threads: int | None
) -> None:
    """Decode packed latents with the VAE of a model, as the memory plan says, and give the frames to `write`.

    With the plan of the clip's receipt, on the same hardware and versions, they are those that were rounded for the
    clip. `threads` is for a clip of deterministic mode: its number of CPU threads, 0 for torch's own; None otherwise.
    Raises ModelError, GenerationError, Cancelled, and what `write` raises.
    """
    quiet_libraries()
    place = choose_placement(settings.device)
    limit_memory(place, settings.memory_limit)
    memory = read_plan(plan) if is_plan(plan) else None
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if threads is not None:
            stack.enter_context(deterministic(threads or None))
        try:
            observer.progress(Progress(Stage.LOADING))
            vae = _load_vae(settings, model, place, memory.vae if memory else "fp32")
            for piece in decoded_pieces(vae, unpack(content).to(place.device), observer, memory.tile if memory else 0):
                write(piece.permute(1, 2, 3, 0).contiguous().cpu().numpy())
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise GenerationError(
                "There is not enough free memory to decode the clip as it was made; close what else uses the device."
            ) from error


def _load_vae(settings: Settings, model: str, place: Placement, dtype: str) -> AutoencoderKLWan:
    vae = load_component(ModelLibrary(settings).find(model), "vae", AutoencoderKLWan, place.device, torch.float32)
    if place.on_cpu:
        use_onednn(vae)
    return vae.to(torch.bfloat16) if dtype == "bf16" else vae
