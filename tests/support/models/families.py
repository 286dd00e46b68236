"""A studio with a tiny model of every family, and clips that leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.support import tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.engine import Engine, Rendered
from wan_pipeline.engine.memory.inner_tensors import inner_tensors, named_tensors
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings

WRITERS: dict[str, Callable[[Path], Path]] = {
    "demo": tiny.write_demo,
    "wan2.1-t2v-1.3b": tiny.write_wan21_text,
    "wan2.1-i2v-14b-480p": tiny.write_wan21_image,
    "wan2.1-flf2v-14b": tiny.write_first_last,
    "wan2.2-t2v-a14b": tiny.write_experts_text,
    "wan2.2-i2v-a14b": tiny.write_experts_image,
    "wan2.1-vace-1.3b": tiny.write_vace,
}

WITH_IMAGE = ("wan2.1-i2v-14b-480p", "wan2.1-flf2v-14b", "wan2.2-i2v-a14b")
EXPERTS = "wan2.2-t2v-a14b"
CHUNK = "chunk=7"


class Place(NamedTuple):
    """A studio with all families, and what their clips are conditioned on."""

    settings: Settings
    pictures: tuple[str, str]
    video: str

    def request(self, model: str, **changes) -> GenerationRequest:
        """With two experts, each computes one of the steps."""
        settings: dict[str, object] = {"styled_prompt": "the red ball", "num_inference_steps": 2, "num_frames": 5}
        if model in WITH_IMAGE:
            settings |= {"mode": Mode.IMAGE_TO_VIDEO, "image": self.pictures[0]}
        if model == "wan2.1-flf2v-14b":
            settings["last_image"] = self.pictures[1]
        if model == "wan2.1-vace-1.3b":
            settings |= {"control_video": self.video, "reference_images": self.pictures[:1]}
        return make_request(**{**settings, "model": model, "width": 96, "height": 64, **changes})


def frames(engine: Engine, request: GenerationRequest, plan: str) -> np.ndarray:
    made = engine.render(request, Recorder(), plan=plan)
    assert made.provenance.plan == plan and warnings(made) == []
    assert_nothing_is_left(engine)
    return made.frames


def warnings(made: Rendered) -> list[str]:
    """But for the forecast's, which takes the tiny model for the large one that it stands in for."""
    return [warning for warning in made.warnings if "its forecast did not fit" not in warning]


def assert_nothing_is_left(engine: Engine) -> None:
    """The loaded model keeps nothing of a clip: no hook, no forward or encode of ours, no tiles, no cache."""
    if engine._holder.loaded is None:
        return
    denoiser = engine._holder.loaded.denoiser
    modules = [module for part in (*denoiser.transformers, denoiser.vae) for module in part.modules()]
    if denoiser.image_encoder is not None:
        modules.append(denoiser.image_encoder)  # its own modules have hooks of the library
    for module in modules:
        assert not module._forward_hooks and not module._forward_pre_hooks, module
        assert not {"encode", "_hf_hook"} & set(vars(module)), module
    assert not any("forward" in vars(module) for model in denoiser.transformers for module in model.modules())
    assert not denoiser.vae.use_tiling and not any(model.is_cache_enabled for model in denoiser.transformers)
    assert all(kept is None for kept in getattr(denoiser.vae, "_feat_map", []))
    for streamed in engine._holder.loaded.streamed:
        for block in streamed.blocks:
            here = [inner for _, _, tensor in named_tensors(block.module) for inner in inner_tensors(tensor)]
            home = [inner for tensor in block._home for inner in inner_tensors(tensor)]
            assert [inner.data_ptr() for inner in here] == [inner.data_ptr() for inner in home]
