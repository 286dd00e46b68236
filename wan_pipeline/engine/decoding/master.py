"""A clip's frames before they are rounded: its kept latents, decoded again by the same code at the same plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray

from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.engine.decoding.decode import decoded_pieces
from wan_pipeline.engine.decoding.latents import unpack
from wan_pipeline.engine.device.cpu_convolution import use_onednn
from wan_pipeline.engine.device.deterministic import deterministic
from wan_pipeline.engine.device.placement import Placement, choose_placement, is_out_of_memory, limit_memory
from wan_pipeline.engine.loading.load import load_component, quiet_libraries
from wan_pipeline.errors import GenerationError, ModelError
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.planning.memory_plan import is_plan, read_plan
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.settings import Settings
from wan_pipeline.storage.hashes import FileHashes

VAE = "vae"
"""The component's folder."""
Write = Callable[[NDArray[np.float32]], None]
"""Takes frames (t, H, W, 3) from -1 to 1, in order."""


def decode_master(
    settings: Settings, made: Provenance, content: bytes, observer: Observer, write: Write, threads: int | None
) -> None:
    """Decode packed latents as the clip was `made`, and give the frames to `write`.

    With the same VAE and memory plan, on the same hardware and versions, they are those that were rounded for the clip.
    `threads` is for a clip of deterministic mode: its number of CPU threads, 0 for torch's own; None otherwise.
    Raises ModelError, before it gives any, if the VAE is not here or another now; GenerationError, Cancelled, and what
    `write` raises.
    """
    quiet_libraries()
    place = choose_placement(settings.device)
    limit_memory(place, settings.memory_limit)
    memory = read_plan(made.plan) if is_plan(made.plan) else None
    model = ModelLibrary(settings).find(made.model)
    _check_vae(settings, model, made)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if threads is not None:
            stack.enter_context(deterministic(threads or None))
        try:
            observer.progress(Progress(Stage.LOADING))
            vae = _load_vae(model, place, memory.vae if memory else "fp32")
            for piece in decoded_pieces(vae, unpack(content).to(place.device), observer, memory.tile if memory else 0):
                write(piece.permute(1, 2, 3, 0).contiguous().cpu().numpy())
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise GenerationError(
                "There is not enough free memory to decode the clip as it was made; close what else uses the device."
            ) from error


def _check_vae(settings: Settings, model: InstalledModel, made: Provenance) -> None:
    """Raise ModelError unless the files of the VAE are those that the clip was made with."""
    hashes, files = FileHashes(settings.cache / "hashes"), model.weight_files()
    here = {name: path for name, path in files.items() if name.startswith(f"{VAE}/")}
    then = {name: sha256 for name, sha256 in made.model_files.items() if name.startswith(f"{VAE}/")}
    if then != {name: hashes.sha256(path) for name, path in here.items()}:
        raise ModelError(
            f"The VAE of {model.spec.title} is another than the clip was made with; put that one in {model.folder}."
        )


def _load_vae(model: InstalledModel, place: Placement, dtype: str) -> AutoencoderKLWan:
    vae = load_component(model, VAE, AutoencoderKLWan, place.device, torch.float32)
    if place.on_cpu:
        use_onednn(vae)
    return vae.to(torch.bfloat16) if dtype == "bf16" else vae
