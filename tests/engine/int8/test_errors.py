"""Layers measured in int8 while a clip is made, and those that multiply in 16 bits for it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from tests.engine.memory.test_block_streaming import CPU, make
from tests.engine.memory.test_quantize import output
from wan_pipeline.engine.int8.errors import LayerErrors, measuring
from wan_pipeline.engine.int8.exact import exact_layers
from wan_pipeline.engine.lora.adapters import LowRank, applied
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.memory.quantized_layers import DequantizedLinear, Int8Linear
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.int8_errors import layers_beyond, load_errors
from wan_pipeline.planning.memory_plan import LAYERS, read_plan

OUTLYING = "attn2.to_q"
HOWS = [(0, False), (7, False), (7, True)]
"""Tokens at a time, and whether fused."""


def model_with_outliers() -> torch.nn.Module:
    """In its last block the rows of one layer's input have a large value that the layer makes nothing of."""
    model = make(Precision.INT8_COMPUTE)
    model.blocks[-1].norm2.weight[3] = 100.0
    model.blocks[-1].get_submodule(OUTLYING).weight._data[:, 3] = 0
    return model


def errors_of(model: torch.nn.Module, tokens: int = 7, *, fused: bool = False) -> LayerErrors:
    errors = LayerErrors(lambda _: None)
    with chunked(model, tokens, fused=fused), measuring(model, errors):
        output(model)
    return errors


@pytest.mark.parametrize(("tokens", "fused"), HOWS)
def test_the_outlying_layer_is_found_and_no_bit_of_the_clip_changes(tokens: int, fused: bool) -> None:
    model = model_with_outliers()
    with chunked(model, tokens, fused=fused):
        wanted = output(model)
        errors = LayerErrors(lambda _: None)
        with measuring(model, errors):
            assert output(model).equal(wanted)
            worst = dict(errors.worst)
            assert output(model).equal(wanted)
    assert errors.worst == worst, "only the first call measures"
    assert not errors.left and worst.keys() == set(LAYERS) - {"attn2.add_k_proj", "attn2.add_v_proj"}
    assert layers_beyond(worst) == (OUTLYING,) and all(0 < error < 0.5 for error in worst.values())
    assert not any("forward" in vars(module) or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("tokens", "fused"), HOWS)
def test_an_exact_layer_multiplies_its_dequantized_weight_and_is_undone(tokens: int, fused: bool) -> None:
    model, weights_alone = model_with_outliers(), model_with_outliers()
    for layer in (module for module in weights_alone.modules() if isinstance(module, Int8Linear)):
        layer.__class__ = DequantizedLinear
    with chunked(weights_alone, tokens, fused=fused):
        wanted = output(weights_alone)
    with chunked(model, tokens, fused=fused):
        before = output(model)
        with exact_layers(model, [OUTLYING]):
            made = output(model)
        with exact_layers(model, LAYERS):
            assert output(model).equal(wanted)
        assert output(model).equal(before)
    assert not made.equal(before) and not made.equal(wanted)


def test_streamed_is_resident_bit_for_bit_and_measures_alike() -> None:
    model = model_with_outliers()
    with chunked(model, 7, fused=True), exact_layers(model, [OUTLYING]):
        wanted = output(model)
        with streaming([StreamedModel(model)], CPU, 1):
            assert output(model).equal(wanted)
    resident = errors_of(model)
    with streaming([StreamedModel(model)], CPU, 1):
        assert errors_of(model).worst == resident.worst


def test_a_lora_is_not_taken_for_an_error() -> None:
    model = make(Precision.INT8_COMPUTE)
    change = LowRank({Role.DOWN: torch.randn(2, 48), Role.UP: torch.randn(48, 2)})
    with applied(model, [{"blocks.0.attn2.to_q": [change]}]):
        assert errors_of(model).worst[OUTLYING] < 0.03


def test_errors_are_stored_once_all_blocks_were_measured(tmp_path) -> None:
    model, plan = make(Precision.INT8_COMPUTE, layers=2), read_plan("resident,int8-compute")
    errors = LayerErrors.missing("model", "weights", plan, tmp_path)
    assert errors is not None
    with ExitStack() as stack:
        stack.enter_context(measuring(model, errors))
        errors.save()
        assert load_errors(tmp_path, "model") is None
        output(model)
    errors.save()
    stored = load_errors(tmp_path, "model")
    assert (
        stored == pytest.approx(errors.worst, abs=1e-5)
        and LayerErrors.missing("model", "weights", plan, tmp_path) is None
    )
    assert LayerErrors.missing("another", "weights", plan, tmp_path) is not None


@pytest.mark.parametrize("plan", ["int8", "int8-compute,split=2", "int8-compute,exact=ffn.net.2"])
def test_plans_that_measure_nothing(plan: str, tmp_path) -> None:
    assert LayerErrors.missing("model", "weights", read_plan(f"resident,{plan}"), tmp_path) is None
