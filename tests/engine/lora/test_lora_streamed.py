"""Each kind of change on streamed blocks: bit for bit as on resident ones, merged and beside, on quantized bases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from safetensors.torch import save_file

from tests.engine.lora.test_lora_kinds import CASES, noise
from tests.support.observers import Recorder
from tests.support.requests import make_request
from tests.support.soak import soaked
from wan_pipeline.engine.engine import Engine
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings

Tensors = dict[str, torch.Tensor]
SIDE = 48
LAYERS = ("blocks.0.attn1.to_q", "blocks.1.attn2.to_out.0")
KINDS: dict[str, Callable[[torch.Tensor], Tensors]] = {
    "diff": lambda weight: {"diff": noise(*weight.shape), "diff_b": noise(weight.shape[0])},
    "DoRA": CASES["DoRA of rows"].tensors,
    "LoKr": CASES["LoKr of factors"].tensors,
    "LoHa": CASES["LoHa"].tensors,
    "OFT": lambda weight: {"oft_R.weight": noise(6, 28)},
    "(IA)3": lambda weight: {"ia3_l": noise(weight.shape[0], 1) + 1},
    "OFT of LyCORIS": lambda weight: {"oft_blocks": noise(6, 8, 8), "alpha": torch.tensor(0.01)},
    "(IA)3 of LyCORIS": lambda weight: {"weight": noise(weight.shape[0]), "on_input": torch.tensor(1)},
}
PEFT = {"lora_adapter_metadata": json.dumps({"peft_type": "OFT"})}
"""Without it OFT's numbers say nothing."""
PLANS = [*product(["fp32"], ["merged"]), *(soaked(*rest) for rest in product(["int8", "fp8"], ["merged", "beside"]))]
PLANS.append(soaked("fp32", "beside"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("precision", "lora"), PLANS)
def test_streamed_is_resident_bit_for_bit(settings: Settings, kind: str, precision: str, lora: str) -> None:
    tensors = KINDS[kind](torch.zeros(SIDE, SIDE))
    named = {f"transformer.{layer}.{name}": value.clone() for layer in LAYERS for name, value in tensors.items()}
    save_file(named, settings.loras / "kind.safetensors", PEFT if kind == "OFT" else None)
    request = make_request(width=160, height=160, num_frames=5, num_inference_steps=2)  # merging is cheaper here
    with Engine(settings) as engine:

        def sha(residency: str, *loras: LoraChoice) -> str:
            plan = f"{residency},{precision},lora={lora}"
            return engine.render(replace(request, loras=loras), Recorder(), plan=plan).sha256

        resident, plain = sha("resident", LoraChoice("kind", 0.7)), sha("resident")
        assert sha("streamed", LoraChoice("kind", 0.7)) == resident != plain == sha("streamed")
