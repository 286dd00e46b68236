"""Files of trainers' own kinds: every key is applied, as in the weights that their formulas give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file

from tests.support import tiny
from wan_pipeline.engine.lora.adapters import AdapterHome, applied, read_weights
from wan_pipeline.lora.adapter import match_adapter
from wan_pipeline.lora.changes import Kind
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.library import ModelLibrary

MODEL = "wan2.1-t2v-1.3b"
CASES = sorted((Path(__file__).parents[2] / "lora" / "cases").glob("*.safetensors"))
INPUTS = {
    "hidden_states": torch.linspace(-1, 1, 16 * 2 * 4 * 4).reshape(1, 16, 2, 4, 4),
    "timestep": torch.tensor([500.0]),
    "encoder_hidden_states": torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32),
}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
@torch.inference_mode()
def test_all_keys_are_applied_as_the_formulas_say(settings, path):
    tiny.write_wan21_text(settings.models / MODEL)
    model = ModelLibrary(settings).find(MODEL)
    adapter = match_adapter(path, model)
    tensors = load_file(path)
    assert {key for change in adapter.changes for key in change.all_keys} == tensors.keys() and adapter.warnings == ()
    transformer = WanTransformer3DModel.from_pretrained(model.folder / "transformer").eval()
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    plain = transformer(**INPUTS).sample
    with applied(transformer, [read_weights(adapter, AdapterHome(torch.device("cpu"), torch.float32))]):
        ours = transformer(**INPUTS).sample
    assert all(torch.equal(value, before[name]) for name, value in transformer.state_dict().items())
    for change in adapter.changes:
        _fuse(transformer, change, {role: tensors[key] for role, key in change.keys.items()}, tensors)
    theirs = transformer(**INPUTS).sample
    assert float((theirs - plain).abs().max()) > 1e-3
    assert torch.allclose(ours, theirs, atol=2e-4, rtol=1e-3)


def _fuse(transformer, change, tensors, all_tensors) -> None:
    parameters = dict(transformer.named_parameters())
    weight = parameters.get(f"{change.target}.weight", parameters.get(change.target))
    changed = weight.clone()
    if change.kind is Kind.LORA:
        alpha = float(all_tensors[change.alpha_key]) if change.alpha_key else 4.0
        changed += tensors[Role.UP] @ tensors[Role.DOWN] * alpha / 4
    elif change.kind is Kind.LOKR:
        changed += torch.kron(tensors[Role.LOKR_W1], tensors[Role.LOKR_W2])
    elif Role.DIFF in tensors:
        changed += tensors[Role.DIFF].reshape(changed.shape)
    if Role.MAGNITUDE in tensors:
        changed *= tensors[Role.MAGNITUDE].reshape(-1, 1) / changed.norm(dim=1, keepdim=True)
    weight.copy_(changed)
    if Role.BIAS in tensors:
        parameters[f"{change.target}.bias"].add_(tensors[Role.BIAS])
