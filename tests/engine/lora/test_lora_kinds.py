"""Each kind of change, written here and fused here by its formula: the same output as beside the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from tests.engine.lora.test_lora_cases import INPUTS, MODEL
from tests.support import tiny
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.engine.lora.weight_changes import WeightChange
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.settings import Settings

LINEAR, CONVOLUTION = "blocks.0.attn1.to_q", "patch_embedding"
RANK = 4
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A file's tensors for one module, and the weight and bias that they make of the module's own."""

    target: str
    tensors: Callable[[torch.Tensor], Tensors]
    """By the weight."""
    weight: Callable[[torch.Tensor, Tensors], torch.Tensor]
    bias: Callable[[torch.Tensor, Tensors], torch.Tensor] = lambda bias, tensors: bias


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.3


def pair(weight: torch.Tensor) -> Tensors:
    return {"lora_A.weight": noise(RANK, weight.shape[1]), "lora_B.weight": noise(weight.shape[0], RANK)}


def convolution(weight: torch.Tensor) -> Tensors:
    outputs, inputs, *kernel = weight.shape
    return {"lora_down.weight": noise(RANK, inputs, *kernel), "lora_up.weight": noise(outputs, RANK, 1, 1, 1)}


def fused(weight: torch.Tensor, tensors: Tensors) -> torch.Tensor:
    down = tensors.get("lora_A.weight", tensors.get("lora_down.weight"))
    up = tensors.get("lora_B.weight", tensors.get("lora_up.weight"))
    assert down is not None and up is not None
    return weight + (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)


def hadamard(weight: torch.Tensor, t: Tensors) -> torch.Tensor:
    product = (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])
    return weight + product * float(t["alpha"]) / RANK


def decomposed(weight: torch.Tensor, magnitude: torch.Tensor, kept: int) -> torch.Tensor:
    norm = weight.transpose(0, kept).flatten(1).norm(dim=1)
    return weight * (magnitude.flatten() / norm).reshape([-1 if dim == kept else 1 for dim in range(weight.ndim)])


CASES = {
    "LoHa": Case(
        LINEAR,
        lambda weight: {
            **{f"hada_w{side}_a": noise(weight.shape[0], RANK) for side in (1, 2)},
            **{f"hada_w{side}_b": noise(RANK, weight.shape[1]) for side in (1, 2)},
            "alpha": torch.tensor(2.0),
        },
        hadamard,
    ),
    "LoKr of factors": Case(
        LINEAR,
        lambda weight: {
            "lokr_w1": noise(4, 4),
            "lokr_w2_a": noise(weight.shape[0] // 4, RANK),
            "lokr_w2_b": noise(RANK, weight.shape[1] // 4),
            "alpha": torch.tensor(2.0),
        },
        lambda weight, t: weight + torch.kron(t["lokr_w1"], t["lokr_w2_a"] @ t["lokr_w2_b"]) * 2.0 / RANK,
    ),
    "convolution": Case(CONVOLUTION, convolution, fused),
    "convolution in Tucker's decomposition": Case(
        CONVOLUTION,
        lambda weight: {
            "lora_down.weight": noise(RANK, weight.shape[1], 1, 1, 1),
            "lora_mid.weight": noise(RANK, RANK, *weight.shape[2:]),
            "lora_up.weight": noise(weight.shape[0], RANK, 1, 1, 1),
        },
        lambda weight, t: weight
        + torch.einsum(
            "or,rsthw,si->oithw", t["lora_up.weight"].flatten(1), t["lora_mid.weight"], t["lora_down.weight"].flatten(1)
        ),
    ),
    "DoRA of rows": Case(
        LINEAR,
        lambda weight: {**pair(weight), "lora_magnitude_vector": noise(weight.shape[0]).abs() + 0.5},
        lambda weight, t: decomposed(fused(weight, t), t["lora_magnitude_vector"], 0),
    ),
    "DoRA of columns": Case(
        LINEAR,
        lambda weight: {**pair(weight), "dora_scale": noise(1, weight.shape[1]).abs() + 0.5},
        lambda weight, t: decomposed(fused(weight, t), t["dora_scale"], 0 if weight.shape[0] == 1 else 1),
    ),
    "DoRA of a convolution's inputs": Case(
        CONVOLUTION,
        lambda weight: {**convolution(weight), "dora_scale": noise(1, weight.shape[1], 1, 1, 1).abs() + 0.5},
        lambda weight, t: decomposed(fused(weight, t), t["dora_scale"], 1),
    ),
    "DoRA of a convolution's outputs, as peft writes it": Case(
        CONVOLUTION,
        lambda weight: {**convolution(weight), "lora_magnitude_vector": noise(1, weight.shape[0], 1, 1, 1).abs() + 0.5},
        lambda weight, t: decomposed(fused(weight, t), t["lora_magnitude_vector"], 0),
    ),
    "bias of a pair": Case(
        LINEAR,
        lambda weight: {**pair(weight), "lora_B.bias": noise(weight.shape[0])},
        fused,
        lambda bias, t: bias + t["lora_B.bias"],
    ),
    "bias alone": Case(
        LINEAR,
        lambda weight: {"diff_b": noise(weight.shape[0])},
        lambda weight, t: weight,
        lambda bias, t: bias + t["diff_b"],
    ),
    "bias of a convolution alone": Case(
        CONVOLUTION,
        lambda weight: {"diff_b": noise(weight.shape[0])},
        lambda weight, t: weight,
        lambda bias, t: bias + t["diff_b"],
    ),
}


@torch.inference_mode()
def test_dora_on_two_experts_has_the_norm_of_each() -> None:
    weights = [noise(8, 6), noise(8, 6) * 5 + 1]
    keys = {role: role.value for role in (Role.DOWN, Role.UP, Role.MAGNITUDE)}
    tensors = {Role.DOWN: noise(RANK, 6), Role.UP: noise(8, RANK), Role.MAGNITUDE: noise(8).abs() + 0.5}
    change = WeightChange(Change(Kind.LORA, "0", (8, 6), keys, RANK), tensors, 1.0, 1.0)
    inputs = noise(3, 6)
    for weight in weights:
        expert = torch.nn.Sequential(torch.nn.Linear(6, 8, bias=False))
        expert[0].weight.copy_(weight)
        with applied(expert, [{"0": [change]}]):
            ours = expert(inputs)
        fused_weight = decomposed(weight + tensors[Role.UP] @ tensors[Role.DOWN], tensors[Role.MAGNITUDE], 0)
        assert torch.allclose(ours, inputs @ fused_weight.T, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@torch.inference_mode()
def test_beside_the_weights_as_fused_into_them(
    settings: Settings, tmp_path: Path, case: Case, dtype: torch.dtype
) -> None:
    tiny.write_wan21_text(settings.models / MODEL)
    model = ModelLibrary(settings).find(MODEL)
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    module = transformer.get_submodule(case.target)
    stored = {name: value.to(dtype) for name, value in case.tensors(module.weight).items()}
    path = tmp_path / "kind.safetensors"
    save_file({f"diffusion_model.{case.target}.{name}": value for name, value in stored.items()}, path)
    adapter = match_adapter(path, model)
    assert adapter.warnings == () and len(adapter.changes) == 1
    plain = transformer(**INPUTS).sample
    with applied(transformer, [read_weights(adapter, AdapterHome(torch.device("cpu"), torch.float32))]):
        ours = transformer(**INPUTS).sample
    tensors = {name: value.float() for name, value in stored.items()}
    module.weight.copy_(case.weight(module.weight.clone(), tensors))
    module.bias.copy_(case.bias(module.bias.clone(), tensors))
    theirs = transformer(**INPUTS).sample
    assert float((theirs - plain).abs().max()) > 1e-4
    assert torch.allclose(ours, theirs, atol=2e-4, rtol=1e-3)
