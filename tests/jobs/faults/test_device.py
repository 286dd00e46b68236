"""Too little memory of any kind: the clip is made with a word about it, or one sentence says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.engine.memory.test_block_streaming import make
from tests.support.observers import Recorder
from tests.support.requests import make_request
from tests.support.studios import QUICK
from wan_pipeline.engine import clip_planner
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.loading import load as load_module
from wan_pipeline.engine.loading.loaded import load
from wan_pipeline.engine.memory.block_buffer import host_memory
from wan_pipeline.engine.memory.block_streaming import StreamedModel
from wan_pipeline.errors import ModelError, OutOfMemory
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.worker.ending import Ending
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.planning.memory_plan import read_plan
from wan_pipeline.requests.request import GenerationRequest

ALLOCATOR = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
without_accelerator = pytest.mark.skipif(torch.accelerator.is_available(), reason="nothing pins memory here")


class Elsewhere(Placement):
    """The CPU in an accelerator's place."""

    @property
    def on_cpu(self) -> bool:
        return False


def small(**changes) -> GenerationRequest:
    settings = {"width": 96, "height": 64, "num_frames": 5, "num_inference_steps": 2, "styled_prompt": "the red ball"}
    return make_request(**settings | changes)


@without_accelerator
def test_where_no_memory_can_be_pinned_plain_memory_serves():
    assert host_memory(1000, pinned=True).shape == (1000,)
    model = StreamedModel(make())
    assert model.move_to_host_memory(pinned=True) is False
    assert all(block.home_slab is not None for block in model.blocks)


@without_accelerator
def test_too_little_pinned_memory_is_told_on_the_clip(settings):
    plan = "streamed,int8,chunk=7"
    with Engine(settings) as engine:
        wanted = engine.render(small(), Recorder(), plan=plan)
        assert wanted.warnings == ()
        model = ModelLibrary(settings).find("demo")
        place = Elsewhere(torch.device("cpu"), torch.float32)
        key = engine._holder.loaded.key
        engine._holder.loaded = load(model, key, read_plan(plan), place, settings.cache / "weights")
        made = engine.render(small(), Recorder(), plan=plan)
    assert made.warnings == ("The system gave too little pinned memory, so that steps may take longer.",)
    assert made.frames.shape == wanted.frames.shape


def test_a_plan_that_does_not_fit_is_tried_and_told_of(settings, monkeypatch):
    """A machine with almost no memory free, as the forecast sees it."""
    probe = clip_planner.probe
    monkeypatch.setattr(clip_planner, "probe", lambda *rest: replace(probe(*rest), ram_free=2**30))
    with Engine(settings) as engine:
        for plan in ("", "streamed,int8,chunk=7"):
            made = engine.render(small(), Recorder(), plan=plan)
            assert len(made.warnings) == 1
            assert made.warnings[0].startswith("The clip was made although its forecast did not fit: it needs ")
            assert made.warnings[0].endswith("close other programs or choose a smaller model.")


def test_no_room_while_loading_is_not_taken_for_a_damaged_file(settings, monkeypatch):
    """The allocator's words, from within the library that loads."""
    kind = load_module.WanTransformer3DModel

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(ALLOCATOR)

    with Engine(settings) as engine:
        with monkeypatch.context() as short, pytest.raises(OutOfMemory, match="ran out of memory; choose a smaller"):
            short.setattr(kind, "from_pretrained", refuse)
            engine.render(small(), Recorder())
        with monkeypatch.context() as broken, pytest.raises(ModelError, match="put the model's files there again"):
            broken.setattr(kind, "from_pretrained", lambda *_, **__: {}["weights"])
            engine.render(small(), Recorder())
        engine.render(small(), Recorder())


@without_accelerator
def test_a_device_that_is_not_there_fails_the_job_with_a_sentence(studio, settings):
    worker = Worker(replace(settings, device="cuda"))
    worker._idle()  # a worker that gets ready for jobs does not die of it
    job_id = studio.submit(QUICK)
    assert worker.run() is Ending.NOTHING_TO_DO
    job = studio.jobs.job(job_id)
    assert job.state is JobState.FAILED
    assert job.error == (
        "This machine has no cuda device that torch can use; set WAN_STUDIO_DEVICE to cpu, or leave it unset."
    )
