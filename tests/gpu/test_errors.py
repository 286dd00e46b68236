"""What goes wrong on an accelerator: cancels, memory that runs out, resumed clips, and deterministic mode."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.gpu.bench import Bench
from tests.support.observers import Recorder
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled, GenerationError, OutOfMemory
from wan_pipeline.planning.memory_plan import read_plan
from wan_pipeline.progress import Stage

pytestmark = pytest.mark.gpu

PLANS = ("resident,NATIVE", "offload,NATIVE", "streamed,int8,blocks=2,chunk=32")
HUGE = {"width": 16 * 2**26, "height": 16 * 2**26}
"""Its noise, which is drawn on the CPU, is larger than the address space."""


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "stop_at", [(Stage.ENCODING_TEXT, 0), (Stage.LOADING, 0), (Stage.DENOISING, 1), (Stage.DECODING, 1)]
)
def test_after_a_cancel_the_next_clip_has_the_same_bits(bench: Bench, plan, stop_at):
    plan = plan.replace("NATIVE", bench.native)
    wanted = bench.render(plan).sha256
    observer = Recorder(stop_at)
    with pytest.raises(Cancelled):
        bench.engine.render(bench.request(), observer, plan=plan)
    assert observer.reports[-1].stage is stop_at[0]
    assert bench.render(plan).sha256 == wanted


@pytest.mark.parametrize("plan", ["resident,NATIVE", "offload,NATIVE"])
def test_no_room_is_a_sentence_with_a_smaller_plan_and_the_engine_goes_on(bench: Bench, plan):
    wanted = bench.render(plan).sha256
    with pytest.raises(OutOfMemory, match="ran out of memory; choose a smaller size or fewer frames") as caught:
        bench.render(plan, bench.request(**HUGE))
    smaller = read_plan(caught.value.smaller_plan)
    assert smaller.chunk or smaller.tile or smaller.residency != read_plan(plan.replace("NATIVE", "bf16")).residency
    assert bench.engine._holder.loaded is None
    assert bench.render(plan).sha256 == wanted


def test_the_devices_own_allocator_refuses_and_the_engine_goes_on(bench: Bench):
    if bench.place.device.type != "cuda":
        pytest.skip("only CUDA can be told how much memory it may give")
    wanted = bench.render("resident,NATIVE").sha256
    bench.engine.close()
    try:
        with Engine(replace(bench.settings, memory_limit=0.03), bench.place) as small:
            with pytest.raises(OutOfMemory, match="The cuda ran out of memory"):
                small.render(bench.request(), Recorder(), plan=f"resident,{bench.native}")
            assert small._holder.loaded is None
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert bench.render("resident,NATIVE").sha256 == wanted


@pytest.mark.parametrize("step", [1, 3, 4])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("resident,NATIVE", "resident,NATIVE"),
        ("resident,NATIVE", "offload,NATIVE"),
        ("streamed,int8,chunk=32", "streamed,int8,blocks=100,chunk=32"),
    ],
)
def test_a_clip_resumes_to_the_same_bits(bench: Bench, tmp_path, first, then, step):
    checkpoint = tmp_path / "checkpoint.safetensors"
    first, then = (plan.replace("NATIVE", bench.native) for plan in (first, then))
    wanted = bench.render(first).sha256
    stop_at = (Stage.DENOISING, step - 1) if step < 4 else (Stage.DECODING, 0)  # the step under way is saved
    with pytest.raises(Cancelled):
        bench.engine.render(bench.request(), Recorder(stop_at), checkpoint, first)
    resumed = bench.render(then, checkpoint=checkpoint)
    assert (resumed.resumed_from, resumed.sha256) == (step, wanted)


def test_deterministic_mode_repeats_itself_or_says_what_it_cannot(bench: Bench):
    clips = []
    for _ in range(2):
        with Engine(bench.settings, bench.place, deterministic=True) as engine:
            try:
                clips.append(engine.render(bench.request(), Recorder(), plan=f"resident,{bench.native}"))
            except GenerationError as error:
                assert "Deterministic mode is not possible here" in str(error)
                pytest.skip(str(error))
    assert clips[0].sha256 == clips[1].sha256
    environment = clips[0].provenance.environment
    assert (environment["strict"], environment["tf32"]) == ("yes", "no")
    assert not torch.are_deterministic_algorithms_enabled()
