"""Attention by the plan: self-attention alone for SageAttention, and refusals in one sentence."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel

from wan_pipeline.engine.attention import backends
from wan_pipeline.engine.attention.backends import backend_text, check_attention, set_attention
from wan_pipeline.engine.attention.measured import measure_sage
from wan_pipeline.engine.attention.sage import sage_attention
from wan_pipeline.errors import GenerationError
from wan_pipeline.planning.attention import Attention

CUDA = torch.device("cuda")


def transformer(head_size: int) -> WanTransformer3DModel:
    return WanTransformer3DModel(num_attention_heads=1, attention_head_dim=head_size, ffn_dim=32, num_layers=1)


def of_layers(model: WanTransformer3DModel) -> tuple[str, str]:
    block = model.blocks[0]
    return tuple(str(attn.processor._attention_backend.value) for attn in (block.attn1, block.attn2))


def test_sage_computes_self_attention_alone_and_is_undone():
    model = transformer(64)
    set_attention(model, Attention.SAGE, "native")
    assert of_layers(model) == ("sage", "native")
    set_attention(model, Attention.CUDNN, "native")
    assert of_layers(model) == ("_native_cudnn", "_native_cudnn")
    set_attention(model, Attention.FASTEST, "_native_flash")
    assert of_layers(model) == ("_native_flash", "_native_flash")


def test_heads_that_sage_cannot_compute_are_refused():
    with pytest.raises(GenerationError, match=r"heads of 64, 96, 128 channels, and this model's have 24; choose"):
        set_attention(transformer(24), Attention.SAGE, "native")


def test_what_is_not_there_is_refused_with_a_way_out(monkeypatch):
    check_attention(Attention.FASTEST, torch.device("cpu"))
    with pytest.raises(GenerationError, match="attention is sage, which needs a GPU of NVIDIA; choose --attention nat"):
        check_attention(Attention.SAGE, torch.device("cpu"))
    monkeypatch.setattr(backends, "sage_version", lambda: None)
    with pytest.raises(GenerationError, match=r"sageattention is not installed; install it .*, or choose"):
        check_attention(Attention.SAGE, CUDA)
    monkeypatch.setattr(backends, "sage_version", lambda: "1.0.6")
    check_attention(Attention.SAGE, CUDA)
    assert backend_text(Attention.SAGE, "native") == "sage 1.0.6"


def test_the_operator_has_the_shape_of_its_query_and_is_not_measured_without_a_gpu():
    query = torch.empty(1, 7, 2, 64, device="meta")
    assert sage_attention(query, query, query).shape == query.shape
    assert measure_sage(torch.device("cpu"), None) == ()
