"""OFT and (IA)3 by peft's own arithmetic, and the settings that peft writes beside a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from peft.tuners.oft.layer import OFTRotationModule
from safetensors.torch import save_file

from tests.engine.lora.test_lora_kinds import LINEAR, MODEL, noise
from tests.engine.lora.test_lora_merged import HOME, INPUTS
from tests.support import tiny
from wan_pipeline.engine.lora.adapters import applied, read_weights
from wan_pipeline.engine.memory.quantize import quantize
from wan_pipeline.engine.memory.quantized_layers import dequantized
from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.settings import Settings

SIZE = 8
NUMBERS = SIZE * (SIZE - 1) // 2


@pytest.fixture
def model(settings: Settings) -> InstalledModel:
    tiny.write_wan21_text(settings.models / MODEL)
    return ModelLibrary(settings).find(MODEL)


def saved(folder: Path, end: str, value: torch.Tensor, **settings: object) -> Path:
    path = folder / "adapter_model.safetensors"
    save_file({f"base_model.model.{LINEAR}.{end}": value}, path)
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return path


@torch.inference_mode()
def compare(model: InstalledModel, path: Path, weight: torch.Tensor, bias: torch.Tensor, quantized: bool) -> None:
    """The outputs beside and merged are those of a transformer with this weight and bias."""
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    if quantized:
        quantize(transformer, Precision.INT8, torch.float32)
    layers = [read_weights(match_adapter(path, model), HOME)]
    plain = transformer(**INPUTS).sample
    outputs = []
    for merged in (False, True):
        with applied(transformer, layers, merged=merged):
            outputs.append(transformer(**INPUTS).sample)
    assert torch.equal(transformer(**INPUTS).sample, plain)
    changed = torch.nn.Linear(*reversed(weight.shape))
    changed.weight.copy_(weight)
    changed.bias.copy_(bias)
    transformer.set_submodule(LINEAR, changed)
    wanted = transformer(**INPUTS).sample
    assert float((wanted - plain).abs().max()) > 1e-4
    assert all(torch.allclose(output, wanted, atol=2e-4, rtol=1e-3) for output in outputs)


def base_of(model: InstalledModel, quantized: bool) -> tuple[torch.Tensor, torch.Tensor]:
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    if quantized:
        quantize(transformer, Precision.INT8, torch.float32)
    layer = transformer.get_submodule(LINEAR)
    return dequantized(layer.weight).detach().clone(), layer.bias.detach().clone()


@pytest.mark.parametrize(("terms", "blocks", "quantized"), [(0, 6, False), (2, 6, False), (3, 1, True), (5, 6, True)])
def test_oft_is_what_peft_makes_of_it(
    model: InstalledModel, tmp_path: Path, terms: int, blocks: int, quantized: bool
) -> None:
    weight, bias = base_of(model, quantized)
    series = {"use_cayley_neumann": terms > 0, "num_cayley_neumann_terms": terms or 5}
    reference = OFTRotationModule(6, NUMBERS, SIZE, 48, block_share=blocks == 1, **series)
    reference.weight = torch.nn.Parameter(noise(blocks, NUMBERS), requires_grad=False)
    path = saved(tmp_path, "oft_R.weight", reference.weight.data, peft_type="OFT", **series)
    rotated = (reference.get_weight() @ weight.T).T  # `Linear.merge`
    compare(model, path, rotated, bias, quantized)


@pytest.mark.parametrize(("shape", "quantized"), [((48, 1), False), ((1, 48), True)])
def test_ia3_is_what_peft_makes_of_it(
    model: InstalledModel, tmp_path: Path, shape: tuple[int, int], quantized: bool
) -> None:
    weight, bias = base_of(model, quantized)
    factors = noise(*shape) + 1
    path = saved(tmp_path, "ia3_l", factors, peft_type="IA3")
    compare(model, path, weight * factors, bias * factors.flatten() if shape[1] == 1 else bias, quantized)


@pytest.mark.parametrize(("constraint", "rescaled", "quantized"), [(0.0, False, False), (0.01, True, True)])
def test_oft_as_lycoris_writes_it(
    model: InstalledModel, tmp_path: Path, constraint: float, rescaled: bool, quantized: bool
) -> None:
    """By the formula of `DiagOFTModule`, block by block; its norm is limited to the constraint times the outputs."""
    weight, bias = base_of(model, quantized)
    blocks, rescale = noise(6, SIZE, SIZE), noise(48, 1) + 1
    skew = blocks - blocks.mT
    if constraint:
        assert skew.norm() > constraint * 48
        skew = skew * (constraint * 48 / skew.norm())
    turns = [(torch.eye(SIZE) + q) @ (torch.eye(SIZE) - q).inverse() for q in skew]
    changed = torch.block_diag(*turns).T @ weight * (rescale if rescaled else 1.0)
    tensors = {"oft_blocks": blocks, "alpha": torch.tensor(constraint), **({"rescale": rescale} if rescaled else {})}
    path = tmp_path / "lycoris.safetensors"
    save_file({f"lycoris_{LINEAR.replace('.', '_')}.{end}": value for end, value in tensors.items()}, path)
    compare(model, path, changed, bias, quantized)


@pytest.mark.parametrize(("on_input", "quantized"), [(0, False), (1, True)])
def test_ia3_as_lycoris_writes_it(model: InstalledModel, tmp_path: Path, on_input: int, quantized: bool) -> None:
    """The factors less 1; the bias stays. The weight is square, so that the mark alone tells which side is meant."""
    weight, bias = base_of(model, quantized)
    factors = noise(48)
    path = tmp_path / "lycoris.safetensors"
    name = f"lycoris_{LINEAR.replace('.', '_')}"
    save_file({f"{name}.weight": factors, f"{name}.on_input": torch.tensor(on_input)}, path)
    adapter = match_adapter(path, model)
    assert adapter.warnings == () and set(adapter.changes[0].all_keys) == {f"{name}.weight", f"{name}.on_input"}
    compare(model, path, weight * (1 + (factors if on_input else factors[:, None])), bias, quantized)


@pytest.mark.parametrize(
    ("settings_", "says"),
    [({"peft_type": "LORA"}, "without its settings"), ({"peft_type": "OFT", "coft": True}, "constrained")],
)
def test_an_oft_that_cannot_be_known_is_refused(
    model: InstalledModel, tmp_path: Path, settings_: dict[str, object], says: str
) -> None:
    with pytest.raises(LoraError, match=says):
        match_adapter(saved(tmp_path, "oft_R.weight", noise(6, NUMBERS), **settings_), model)


def test_ranks_by_pattern_and_alpha_beside_a_file(model: InstalledModel, tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    matrices = {"lora_A.weight": noise(4, 48), "lora_B.weight": noise(48, 4)}
    save_file({f"base_model.model.{LINEAR}.{end}": value for end, value in matrices.items()}, path)
    beside = {"r": 8, "lora_alpha": 16, "rank_pattern": {"to_q": 4}, "alpha_pattern": {}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(beside), encoding="utf-8")
    (change,) = match_adapter(path, model).changes
    assert (change.rank, change.alpha) == (4, 16.0)
