"""Memory plans as text."""

from __future__ import annotations

import pytest

from wan_pipeline.errors import GenerationError, UserError
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.devices import ONE_DEVICE, Devices
from wan_pipeline.planning.memory_plan import MemoryPlan, Residency, devices_of, is_plan, parse_plan_setting, read_plan

PLANS = {
    "resident,fp32": MemoryPlan(precision=Precision.FP32),
    "offload,bf16,tile=512": MemoryPlan(Residency.OFFLOAD, tile=512),
    "resident,int8,branches=2": MemoryPlan(precision=Precision.INT8, branches=2),
    "resident,int8,split=2": MemoryPlan(precision=Precision.INT8, split=2),
    "resident,int8-compute,exact=attn2.to_q+ffn.net.2": MemoryPlan(
        precision=Precision.INT8_COMPUTE, exact=("attn2.to_q", "ffn.net.2")
    ),
    "resident,fp8-compute,compiled": MemoryPlan(precision=Precision.FP8_COMPUTE, compiled=True),
    "streamed,int8,blocks=4,chunk=10920,text=streamed,tile=256,vae=bf16,encode=tiles,disk=1": MemoryPlan(
        Residency.STREAMED, Precision.INT8, 4, 10920, "streamed", 256, "bf16", "tiles", 1
    ),
}


@pytest.mark.parametrize(("text", "plan"), PLANS.items())
def test_a_plan_and_its_text_are_inverse(text, plan):
    assert str(plan) == text and read_plan(text) == plan


def test_spaces_and_order_do_not_matter():
    assert read_plan(" streamed , int8,text=cpu, blocks=3") == read_plan("streamed,int8,blocks=3,text=cpu")


def test_fields_at_their_default_are_left_out():
    assert str(read_plan("resident,bf16,blocks=0,chunk=0,text=device,tile=0,vae=fp32,encode=whole,disk=0")) == (
        "resident,bf16"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "huge",
        "resident",
        "resident,",
        "resident,bf17",
        "bf16,resident",
        "streamed,int8,blocks",
        "streamed,int8,blocks=",
        "streamed,int8,blocks=-1",
        "streamed,int8,blocks=1.5",
        f"streamed,int8,chunk={2**53}",
        "streamed,int8,blocks=" + "9" * 5000,
        "streamed,int8,text=moon",
        "streamed,int8,vae=int8",
        "streamed,int8,encode=some",
        "streamed,int8,compiled=perhaps",
        "resident,int8,branches=3",
        "resident,int8,split=3",
        "resident,int8,branches=2,split=2",
        "resident,int8-compute,exact",
        "resident,int8-compute,exact=",
        "resident,int8-compute,exact=attn1.add_k_proj",
        "resident,int8-compute,exact=attn2.to_q+attn2.to_q",
        "resident,int8-compute,exact=attn2.to_q+",
        "streamed,int8,residency=resident",
        "streamed,int8,magic=1",
        "streamed,int8,,",
        "tiled",
        "x" * 10_000,
    ],
)
def test_what_is_no_plan_is_refused_in_one_sentence(text):
    assert not is_plan(text)
    with pytest.raises(GenerationError, match=r"is not a memory plan; use resident, offload, streamed, or") as caught:
        read_plan(text)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", *Residency, "streamed,int8,blocks=3,chunk=10920,text=streamed"])
def test_a_plan_setting_is_kept_as_it_is(text: str) -> None:
    assert parse_plan_setting(text) == text


@pytest.mark.parametrize("text", [" ", "tiled", "resident,", "streamed,int8,blocks=few", "x" * 5000])
def test_a_setting_that_names_no_plan_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match="is not a memory plan; use resident, offload, streamed, or the whole text"):
        parse_plan_setting(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("streamed,int8,chunk=64", "resident,int8,chunk=64,tile=256,vae=bf16", True),
        ("streamed,int8,chunk=64,blocks=3,disk=1,text=streamed", "offload,int8,chunk=64", True),
        ("streamed,int8,chunk=64,text=cpu", "streamed,int8,chunk=64", False),
        ("streamed,int8,chunk=64,encode=tiles", "streamed,int8,chunk=64", False),
        ("resident,int8,chunk=64", "resident,int8", False),
        ("resident,int8", "resident,bf16", False),
        ("resident,int8", "resident,int8,compiled", False),
        ("resident,int8-compute", "resident,int8-compute,exact=ffn.net.2", False),
        ("resident,int8-compute,exact=ffn.net.2+attn1.to_k", "streamed,int8-compute,exact=attn1.to_k+ffn.net.2", True),
    ],
)
def test_the_place_of_weights_is_no_arithmetic(one, other, same):
    assert (read_plan(one).arithmetic == read_plan(other).arithmetic) == same


def test_a_checkpoint_counts_for_the_same_split_alone():
    alone, paired, split = (read_plan(f"resident,int8{more}") for more in ("", ",branches=2", ",split=2"))
    assert alone.arithmetic == paired.arithmetic != split.arithmetic
    assert paired.on_one_device() == split.on_one_device() == alone
    assert (devices_of(str(split)), devices_of("moon")) == (Devices(split=2), ONE_DEVICE)
