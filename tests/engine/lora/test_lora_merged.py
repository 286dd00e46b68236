"""LoRAs merged into the weights of one forward, and schedules: as beside the weights, and without residue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from tests.engine.lora.test_lora_kinds import CASES, LINEAR, MODEL
from tests.support import adapters, tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.engine.lora.factor import Factor
from wan_pipeline.engine.lora.low_rank import LowRank
from wan_pipeline.engine.lora.merged import is_cheaper
from wan_pipeline.engine.lora.weight_changes import WeightChange
from wan_pipeline.engine.memory.quantize import quantize
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings

HOME = AdapterHome(torch.device("cpu"), torch.float32)
INPUTS = {
    "hidden_states": torch.linspace(-1, 1, 16 * 3 * 8 * 8).reshape(1, 16, 3, 8, 8),
    "timestep": torch.tensor([500.0]),
    "encoder_hidden_states": torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32),
}
"""48 tokens, for which merging into the tiny model's layers is cheaper."""


@pytest.fixture
def model(settings: Settings) -> InstalledModel:
    tiny.write_wan21_text(settings.models / MODEL)
    return ModelLibrary(settings).find(MODEL)


def test_few_rows_are_cheaper_beside_the_weights() -> None:
    assert not is_cheaper(512, 5120, 5120) and is_cheaper(32_760, 5120, 5120)
    assert not is_cheaper(8, 48, 48) and is_cheaper(48, 48, 48)


def test_a_bias_in_host_memory_is_computed_on_the_device() -> None:
    """The "meta" device stands for it; the factor of a schedule is there, and the layer may have no bias."""
    device, bias = torch.device("meta"), torch.ones(4)
    factor = Factor((1.0,), device)
    change = Change(Kind.DIFF, LINEAR, (4, 4), {Role.BIAS: "diff_b"})
    for update in (
        LowRank({Role.DOWN: torch.ones(1, 4), Role.UP: torch.ones(4, 1), Role.BIAS: bias}, factor.value),
        WeightChange(change, {Role.BIAS: bias}, 1.0, 1.0, factor),
    ):
        for own in (None, torch.ones(4, device=device)):
            merged = update.merged_bias(own, device)
            assert merged is not None and merged.device == device


@pytest.mark.parametrize("precision", [None, Precision.INT8, Precision.FP8])
@pytest.mark.parametrize("kind", [name for name, case in CASES.items() if case.target == LINEAR])
@torch.inference_mode()
def test_merged_is_beside_and_leaves_no_trace(
    model: InstalledModel, tmp_path: Path, kind: str, precision: Precision | None
) -> None:
    """On plain and on quantized weights, of which the changed ones are computed from what they dequantize to."""
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    tensors = CASES[kind].tensors(transformer.get_submodule(LINEAR).weight)
    if precision:
        quantize(transformer, precision, torch.float32)
    path = tmp_path / "kind.safetensors"
    save_file({f"transformer.{LINEAR}.{name}": value for name, value in tensors.items()}, path)
    layers = [read_weights(match_adapter(path, model, 0.7), HOME)]
    plain = transformer(**INPUTS).sample
    with applied(transformer, layers):
        beside = transformer(**INPUTS).sample
    with applied(transformer, layers, merged=True):
        merged = transformer(**INPUTS).sample
        assert torch.equal(merged, transformer(**INPUTS).sample)
    assert torch.equal(transformer(**INPUTS).sample, plain)
    assert float((beside - plain).abs().max()) > 1e-4
    assert torch.allclose(merged, beside, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("merged", [False, True])
@torch.inference_mode()
def test_a_schedule_goes_from_step_to_step(model: InstalledModel, merged: bool) -> None:
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    path = Path(__file__).parents[2] / "lora" / "cases" / "lightx2v_full.safetensors"  # tables and biases too
    factor = Factor(Schedule.parse("0:0, 0.5:1, 0.75:0.5").factors(4), HOME.device)
    plain = transformer(**INPUTS).sample
    wanted = []
    for weight in (0.0, 0.5, 1.0, 0.5):
        with applied(transformer, [read_weights(match_adapter(path, model, weight), HOME)], merged=merged):
            wanted.append(transformer(**INPUTS).sample)
    with applied(transformer, [read_weights(match_adapter(path, model), HOME, factor)], merged=merged):
        for step in (0, 1, 2, 3):
            factor.begin_step(step)
            assert torch.allclose(transformer(**INPUTS).sample, wanted[step], atol=1e-4)
    assert factor.listeners == [] and torch.equal(transformer(**INPUTS).sample, plain)


def test_clips_with_schedules_and_a_file_twice(settings: Settings) -> None:
    adapters.write(settings.loras / "style.safetensors")
    request = make_request(width=64, height=64, num_frames=5, num_inference_steps=2)
    late = LoraChoice("style", schedule=Schedule.parse("0.5:0,0.5:1"))
    with Engine(settings) as engine:

        def sha(*loras: LoraChoice, plan: str = "") -> str:
            return engine.render(replace(request, loras=loras), Recorder(), plan=plan).sha256

        plain, whole = sha(), sha(LoraChoice("style"))
        assert sha(LoraChoice("style", 0.25), LoraChoice("style", 0.75)) == whole != plain
        assert sha(LoraChoice("style", schedule=Schedule.parse("0:0"))) == plain
        assert len({sha(late), whole, plain}) == 3
        texts = [f"{residency},fp32,lora=merged" for residency in ("resident", "streamed", "offload")]
        assert len({sha(late, plan=text) for text in texts}) == 1
        assert sha() == plain
