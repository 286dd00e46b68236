"""What is told before the click, for cards that are not here."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median
from unittest.mock import Mock

import pytest

from tests.jobs.estimates.test_throughput import done
from tests.jobs.test_queue import finished
from tests.support.requests import make_request
from wan_pipeline.errors import ModelError, RequestError
from wan_pipeline.jobs.estimates.cpu_load import CpuLoad
from wan_pipeline.jobs.estimates.estimator import LEARN_FROM, Estimator
from wan_pipeline.jobs.estimates.throughput import Throughput
from wan_pipeline.jobs.table.worker_queue import WorkerQueue
from wan_pipeline.models.registry import DEMO, WAN22_TI2V_5B
from wan_pipeline.planning.hardware import Hardware, Speeds, load_hardware, save_hardware
from wan_pipeline.planning.machine import GIB
from wan_pipeline.planning.planner import Planner
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio

CARD = Hardware("cuda", "a card", 8 * GIB, int(7.5 * GIB), 64 * GIB, 48 * GIB, Speeds(60e12, 50e12, 20e9))
LARGE = make_request(
    model="wan2.1-t2v-14b", width=1280, height=720, num_frames=81, num_inference_steps=50, guidance_scale=5.0
)


@pytest.fixture
def estimator(studio) -> Estimator:
    return studio.estimates


def with_free_memory(monkeypatch, gib):
    class Memory:
        total = available = gib * GIB

    monkeypatch.setattr("wan_pipeline.planning.hardware.psutil.virtual_memory", Memory)


def test_nothing_is_said_of_memory_while_the_hardware_is_unknown(estimator):
    told = estimator.of_request(make_request())
    assert told.text.startswith("about ") and told.forecast is None
    assert estimator.of_model("wan2.1-t2v-14b") is None


def test_a_card_is_told_what_a_clip_takes_and_how_long(estimator, settings, monkeypatch):
    with_free_memory(monkeypatch, 48)
    save_hardware(CARD, settings.cache)
    told = estimator.of_request(LARGE)
    assert told.fits and told.text.startswith("fits: ") and " of 8.0 GB, about " in told.text
    assert told.forecast.fits
    assert estimator.of_model("wan2.2-t2v-a14b").text.endswith(" at 832 x 480")
    small = estimator.of_request(replace(LARGE, width=832, height=480))
    assert small.seconds < told.seconds / 3  # attention is quadratic


def test_a_models_own_clip_takes_one_plan_and_one_reading_of_the_hardware(estimator, settings, monkeypatch):
    save_hardware(CARD, settings.cache)
    calls = {name: Mock(wraps=function) for name, function in (("load", load_hardware), ("plan", Planner.choose))}
    monkeypatch.setattr("wan_pipeline.jobs.estimates.estimator.load_hardware", calls["load"])
    monkeypatch.setattr(Planner, "choose", lambda *arguments: calls["plan"](*arguments))
    estimator.of_model("wan2.1-t2v-14b")
    assert (calls["load"].call_count, calls["plan"].call_count) == (1, 1)


def test_a_cpu_is_told_the_time_alone(estimator, settings, monkeypatch):
    with_free_memory(monkeypatch, 48)
    save_hardware(Hardware("cpu", "a processor", 0, 0, 64 * GIB, 48 * GIB), settings.cache)
    assert estimator.of_request(make_request()).text.startswith("about ")
    assert estimator.of_model("demo").text.startswith("about ")


def test_what_does_not_fit_says_what_to_change(estimator, settings, monkeypatch):
    with_free_memory(monkeypatch, 48)
    save_hardware(replace(CARD, vram_free=2 * GIB), settings.cache)
    told = estimator.of_request(LARGE)
    assert not told.fits and "choose a smaller size" in told.text and "about" not in told.text
    assert estimator.of_model("wan2.1-t2v-14b").text.startswith("does not fit: denoising needs ")
    with_free_memory(monkeypatch, 3)
    save_hardware(CARD, settings.cache)
    assert "machine's memory" in estimator.of_request(LARGE).text


def test_the_memory_limit_and_the_plan_of_the_settings_count(settings, monkeypatch):
    with_free_memory(monkeypatch, 48)
    save_hardware(CARD, settings.cache)
    limited = replace(settings, memory_limit=5.0)
    assert " of 5.0 GB" in Studio(limited).estimates.of_request(LARGE).text
    wrong = replace(settings, plan="roomy")
    estimator = Studio(wrong).estimates
    for told in (estimator.of_request(LARGE), estimator.of_model("wan2.1-t2v-14b")):
        assert not told.fits and "'roomy' is not a memory plan" in told.text


def test_an_unknown_model_is_an_error(estimator):
    with pytest.raises(ModelError):
        estimator.of_model("none")


@pytest.mark.parametrize(("ahead", "words"), [(0, ""), (1, ", after 1 other clip"), (3, ", after 3 other clips")])
def test_a_clip_waits_for_those_ahead(ahead, words, estimator, queue, database):
    queue.editor.submit(make_request())
    queue.worker.finish(
        queue.worker.claim().id, finished(database, seconds={"denoising": 5.0, "decoding": 3.0, "saving": 1.0})
    )
    for seed in range(ahead):
        queue.editor.submit(make_request(seed=seed))
    told = estimator.of_request(make_request())
    assert told.text == f"about 9 s{words}"
    assert told.seconds == pytest.approx(9.0)  # its own alone
    assert estimator.queue_seconds() == pytest.approx(ahead * 9.0)


def test_many_clips_of_several_models_add_up(estimator, queue):
    for seed in range(2):
        queue.editor.submit(make_request(seed=seed))
    requests = [make_request(), make_request(model=WAN22_TI2V_5B.id)]
    told = estimator.of_requests(requests)
    assert told.seconds == pytest.approx(sum(estimator.of_request(request).seconds for request in requests))
    assert told.text.startswith("2 clips, about ") and told.text.endswith(", after 2 other clips")


def test_a_draft_needs_neither_a_prompt_nor_its_loras(estimator):
    told = estimator.of_draft(Draft(num_inference_steps=4, loras=(LoraChoice("ghost"),)))
    assert told.seconds == pytest.approx(estimator.of_request(make_request()).seconds)
    assert estimator.of_drafts([Draft(prompt="a", num_inference_steps=4)] * 2).text.startswith("2 clips, about ")
    with pytest.raises(RequestError, match="use 320 or 352"):
        estimator.of_draft(Draft(width=330))
    with pytest.raises(RequestError, match="The prompt is empty"):
        estimator.of_drafts([Draft()])


def test_jobs_of_unknown_models_take_no_time(estimator, queue):
    queue.editor.submit(make_request(model="gone"))
    assert estimator.queue_seconds() == 0


def test_12_the_workers_start_and_the_first_loading_count_once(estimator, queue, database, settings):
    """Both are waited for by the next clip alone, and by none whose worker is warm."""
    for loading in (3.0, 0.5):
        queue.editor.submit(make_request())
        seconds = {"loading": loading, "denoising": 5.0, "decoding": 3.0}
        queue.worker.finish(queue.worker.claim().id, finished(database, seconds=seconds))
    queue.worker.set_ready(1234, 7.0)
    warm, cold = 8.5, 8.5 + 2.5 + 7.0
    assert estimator.seconds(make_request()) == pytest.approx(cold)
    assert estimator.of_requests([make_request()] * 2).seconds == pytest.approx(cold + warm)
    queue.worker.heartbeat(1234)
    queue.worker.set_loaded(1234, "demo")
    with WorkspaceLocks(settings.workspace).worker():
        assert estimator.seconds(make_request()) == pytest.approx(warm)
        queue.worker.set_loaded(1234, "wan2.2-ti2v-5b")
        assert estimator.seconds(make_request()) == pytest.approx(warm + 2.5)
    queue.editor.submit(make_request())  # waits for them in the place of the next one
    assert estimator.seconds(make_request()) == pytest.approx(warm)


def test_two_workers_share_the_clips_and_either_may_hold_the_model(studio, settings, queue, database):
    two = Studio(replace(settings, devices="0,1")).estimates
    queue.editor.submit(make_request())
    seconds = {"loading": 2.0, "denoising": 5.0, "decoding": 3.0}
    queue.worker.finish(queue.worker.claim().id, finished(database, seconds=seconds))
    long = make_request(num_inference_steps=40)
    alone, longest = studio.estimates.seconds(make_request()), studio.estimates.seconds(long)
    assert longest > 3 * alone
    assert two.of_requests([make_request()] * 3).seconds == pytest.approx(1.5 * alone)
    assert two.of_requests([make_request(), long]).seconds == pytest.approx(longest)
    queue.editor.submit(make_request())
    assert "after" not in two.of_request(make_request()).text
    queue.editor.submit(make_request())
    assert two.queue_seconds() == pytest.approx(alone) == pytest.approx(studio.estimates.queue_seconds() / 2)
    assert two.of_request(make_request()).text.endswith(", after 1 other clip")


def test_a_clip_that_is_alone_is_told_of_both_cards(settings, queue, monkeypatch):
    with_free_memory(monkeypatch, 400)
    large = replace(CARD, vram_total=80 * GIB, vram_free=78 * GIB, ram_total=400 * GIB, ram_free=380 * GIB)
    save_hardware(replace(large, second_free=78 * GIB), settings.cache)
    two, one = Studio(replace(settings, devices="0,1")).estimates, Studio(settings).estimates
    told, alone = two.of_request(LARGE), one.of_request(LARGE)
    assert " of 80.0 GB and " in told.text and " GB of a second GPU, about " in told.text
    assert "second GPU" not in alone.text
    assert told.forecast.plan.branches == 2 and alone.forecast.plan.branches == 1
    assert 0.5 * alone.seconds < told.seconds < 0.6 * alone.seconds
    assert told.seconds == pytest.approx(two.seconds(LARGE)) == pytest.approx(two.of_requests([LARGE]).seconds)
    assert two.of_requests([LARGE] * 2).seconds == pytest.approx(alone.seconds)  # a card each
    plain = replace(LARGE, guidance_scale=1.0)
    assert two.of_request(plain).forecast.plan.split == 2
    assert 0.5 * one.seconds(plain) < two.seconds(plain) < 0.75 * one.seconds(plain)
    queue.editor.submit(make_request())
    assert two.of_request(LARGE).seconds == pytest.approx(alone.seconds, rel=0.01)


def test_a_clip_loads_nothing_if_the_second_worker_holds_its_model(settings, queue, database):
    two = Studio(replace(settings, devices="0,1")).estimates
    for loading in (3.0, 0.5):
        queue.editor.submit(make_request())
        seconds = {"loading": loading, "denoising": 5.0, "decoding": 3.0}
        queue.worker.finish(queue.worker.claim().id, finished(database, seconds=seconds))
    second = WorkerQueue(Database(settings.database), queue.jobs, 1)
    second.heartbeat(1234)
    second.set_ready(1234, 7.0)
    second.set_loaded(1234, "demo")
    assert two.seconds(make_request()) == pytest.approx(8.5 + 2.5 + 7.0)
    with WorkspaceLocks(settings.workspace).worker(1):
        assert two.seconds(make_request()) == pytest.approx(8.5)


TIMINGS = Path(__file__).parent / "stage_timings.json"
"""Real clips of the demo model, of several lengths, sizes and numbers of steps, on two cores that other programs kept
busy. Each but the second was queued with no worker alive; `worker_starts` are those of the third clip and on."""
BOUND = 0.2
"""How far an estimate may be off, as a share of the time from queueing the clip to its end."""


def test_12_the_next_of_the_recorded_clips_is_foretold_within_a_fifth():
    """By the clips and starts before it. The start alone, which no estimate counted, is a third of what one waits."""
    recorded = json.loads(TIMINGS.read_text(encoding="utf-8"))
    jobs = [
        replace(
            done(GenerationRequest.from_dict(clip["request"]), **clip["seconds"]),
            created_at=datetime.fromisoformat(clip["created_at"]),
            started_at=datetime.fromisoformat(clip["started_at"]),
            finished_at=datetime.fromisoformat(clip["finished_at"]),
        )
        for clip in recorded["jobs"]
    ]
    for number in range(4, len(jobs)):
        clip, before = jobs[number], jobs[max(number - LEARN_FROM, 0) : number]
        learned, start = Throughput.learned(before, DEMO, pytest.fail), median(recorded["worker_starts"][: number - 2])
        took = (clip.finished_at - clip.created_at).total_seconds()
        told = start + learned.first_loading - learned.loading + learned.seconds(clip.request)
        assert told == pytest.approx(took, rel=BOUND), clip.request
        assert learned.seconds(clip.request) < 0.75 * took


def test_12_an_estimate_says_when_other_programs_take_the_cores(studio):
    """On the processor alone: a card does not wait for them."""
    samples = iter([(0.0, 0.0, 0.0), *((10.0, 1e9, 0.0),) * 2])
    busy = Estimator(studio.settings, studio.requests, studio.jobs, CpuLoad(lambda pid: next(samples)))
    assert "busy" not in busy.of_request(make_request()).text
    assert busy.of_request(make_request()).text.endswith("busy, so it may take longer")
    save_hardware(CARD, studio.settings.cache)
    assert "busy" not in busy.of_request(make_request()).text
