"""Compiled blocks with LoRAs: dynamo sees every hook, those on norms too, and weights of one forward."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel

from tests.engine.lora.test_lora_merged import HOME, INPUTS, MODEL
from tests.support import adapters, tiny
from tests.support.soak import soaked
from wan_pipeline.engine.loading.loaded import guards_on_hooks
from wan_pipeline.engine.lora.adapters import applied, read_weights
from wan_pipeline.engine.lora.factor import Factor
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.inner_tensors import blocks_of
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.settings import Settings

NAMES = ((1, "client a"), (2, "client b"))
CASES = Path(__file__).parents[2] / "lora" / "cases"


@pytest.mark.parametrize("merged", [soaked(False), soaked(True)])
@torch.inference_mode()
def test_compiled_with_a_lora_and_without(settings: Settings, merged: bool) -> None:
    """The file changes norms, biases and modulation. Only tracing is tried: what a backend makes of it is torch's."""
    tiny.write_wan21_text(settings.models / MODEL)
    model = ModelLibrary(settings).find(MODEL)
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    factor = Factor([1.0, 0.0, 0.5], HOME.device)
    layers = read_weights(match_adapter(CASES / "lightx2v_full.safetensors", model), HOME, factor)

    def compiled() -> torch.Tensor:
        try:
            for block in blocks_of(transformer):
                block.forward = torch.compile(block.forward, backend="eager")
            sample: torch.Tensor = transformer(**INPUTS).sample
            return sample
        finally:
            for block in blocks_of(transformer):
                block.__dict__.pop("forward")

    plain = transformer(**INPUTS).sample
    with guards_on_hooks():
        assert torch.allclose(compiled(), plain, atol=1e-5)
        with applied(transformer, [layers], merged=merged):
            for step in range(3):
                factor.begin_step(step)
                wanted = transformer(**INPUTS).sample
                assert torch.allclose(compiled(), wanted, atol=1e-5)
                assert torch.allclose(wanted, plain, atol=1e-5) is (step == 1)
        assert torch.allclose(compiled(), plain, atol=1e-5)


@pytest.mark.parametrize("merged", [soaked(False), soaked(True)])
@torch.inference_mode()
def test_switching_sets_of_a_compiled_model_compiles_nothing_again(
    settings: Settings, tmp_path: Path, merged: bool
) -> None:
    """Once for a set of that shape, whichever files it consists of; and never again for one that was there before.

    The merged ones are streamed, too.
    """
    tiny.write_wan21_text(settings.models / MODEL)
    model = ModelLibrary(settings).find(MODEL)
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    files = {name: adapters.write(tmp_path / f"{name}.safetensors", seed=seed, but="proj_out") for seed, name in NAMES}
    layers = {name: read_weights(match_adapter(path, model), HOME) for name, path in files.items()}
    streamed, compiled = StreamedModel(transformer), list[str]()
    torch._dynamo.reset()

    def count(module: torch.fx.GraphModule, inputs: object) -> object:
        compiled.append(present)
        return module.forward

    present = ""
    with guards_on_hooks():
        for present in ("", "client a", "client b", "client a", "", "client b"):
            sets = [layers[present]] if present else []
            with applied(transformer, sets, merged=merged):
                wanted = transformer(**INPUTS).sample
                with streaming([streamed], HOME.device) if merged else nullcontext():
                    for block in blocks_of(transformer):
                        block.forward = torch.compile(block.forward, backend=count)
                    found = transformer(**INPUTS).sample
                    for block in blocks_of(transformer):
                        block.__dict__.pop("forward")
            assert torch.allclose(found, wanted, atol=1e-5)
    assert compiled[:1] == [""] and set(compiled) == {"", "client a"}, "nothing for the second client"
    assert compiled == sorted(compiled), "nor on the way back"
