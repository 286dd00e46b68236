"""Checkpoints: a resumed clip has the bits of one made in one piece, or is made anew with a warning."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.support import adapters, tiny
from tests.support.commands import python
from tests.support.faults.disks import read_only_disk
from tests.support.observers import Recorder
from tests.support.requests import make_request
from tests.support.soak import first_only
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Stage
from wan_pipeline.requests.request import GenerationRequest, LoraChoice
from wan_pipeline.requests.sampling.scheduler import SchedulerName

STEPS = 5


@pytest.fixture
def engine(settings):
    """Saves a checkpoint after every step."""
    with Engine(replace(settings, checkpoint_seconds=0.0)) as engine:
        yield engine


@pytest.fixture
def path(settings) -> Path:
    return settings.checkpoints / "job.safetensors"


def small(**changes) -> GenerationRequest:
    settings = {"width": 96, "height": 64, "num_frames": 9, "styled_prompt": "the red ball"}
    return make_request(**settings | {"num_inference_steps": STEPS} | changes)


def with_image(settings, **changes) -> GenerationRequest:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(settings.inputs / "picture.png")
    return small(mode=Mode.IMAGE_TO_VIDEO, image="picture", **changes)


def stop_after(engine: Engine, request: GenerationRequest, path: Path, step: int) -> None:
    """Make the first `step` steps only. The engine saves the step that it has made, then looks whether to stop."""
    with pytest.raises(Cancelled):
        engine.render(request, Recorder(stop_at=(Stage.DENOISING, step - 1)), path)


@pytest.mark.parametrize("mode", first_only(Mode))
@pytest.mark.parametrize("scheduler", first_only(SchedulerName))
def test_stopped_at_each_step_the_frames_are_those_of_one_piece(engine, settings, path, scheduler, mode):
    make = with_image if mode is Mode.IMAGE_TO_VIDEO else lambda settings, **changes: small(**changes)
    request = make(settings, scheduler=scheduler)
    whole = engine.render(request, Recorder())
    for step in range(1, STEPS):
        path.unlink(missing_ok=True)
        stop_after(engine, request, path, step)
        observer = Recorder()
        resumed = engine.render(request, observer, path)
        assert (resumed.sha256, resumed.resumed_from, resumed.warnings) == (whole.sha256, step, ())
        reports = observer.of(Stage.DENOISING)
        assert [(report.step, report.total) for report in reports] == [(n, STEPS) for n in range(step, STEPS + 1)]


def test_a_clip_that_keeps_a_layout_may_stop_in_its_first_steps_and_after(engine, path):
    """All but the last two of its steps are at another size."""
    request = small(noise_size="64x64@0.7")
    whole, from_steps = engine.render(request, Recorder()), []
    for step in range(1, STEPS):
        path.unlink(missing_ok=True)
        stop_after(engine, request, path, step)
        resumed = engine.render(request, Recorder(), path)
        assert (resumed.sha256, resumed.warnings) == (whole.sha256, ())
        from_steps.append(resumed.resumed_from)
    assert from_steps == [1, 2, 2, 4], "the third ends the first steps: it is made again"


@pytest.mark.parametrize("scheduler", first_only(SchedulerName))
def test_stopped_at_every_step(engine, path, scheduler):
    """One step a try: each run resumes from what a resumed run has saved."""
    request = small(scheduler=scheduler)
    for step in range(1, STEPS):
        stop_after(engine, request, path, step)
    resumed = engine.render(request, Recorder(), path)
    assert resumed.resumed_from == STEPS - 1
    assert resumed.sha256 == engine.render(request, Recorder()).sha256


def test_05_a_run_that_stops_keeps_its_last_step(settings, path):
    """Also one that is too short for a checkpoint now and then: a pause loses no step."""
    with Engine(replace(settings, checkpoint_seconds=3600.0)) as engine:
        stop_after(engine, small(), path, 2)
        assert engine.render(small(), Recorder(), path).resumed_from == 2


def test_previews_of_a_resumed_run_are_those_of_one_piece(engine, path):
    whole, resumed = Recorder(), Recorder()
    engine.render(small(), whole)
    stop_after(engine, small(), path, 2)
    engine.render(small(), resumed, path)
    for ours, theirs in zip(resumed.of(Stage.DENOISING)[1:], whole.of(Stage.DENOISING)[3:], strict=True):
        assert (ours.preview == theirs.preview).all()


def test_a_schedule_has_no_step_left_when_all_are_done(engine, settings, path):
    adapters.write(settings.loras / "style.safetensors")
    request = small(loras=(LoraChoice("style", schedule=Schedule.parse("0:0, 1:1")),))
    with pytest.raises(Cancelled):
        engine.render(request, Recorder(stop_at=(Stage.DECODING, 0)), path)
    assert engine.render(request, Recorder(), path).resumed_from == STEPS


def test_all_steps_done_only_the_decoder_runs(engine, path):
    """As after a decoder that found no memory: the next plan need not denoise again."""
    request = small()
    with pytest.raises(Cancelled):
        engine.render(request, Recorder(stop_at=(Stage.DECODING, 0)), path)
    observer = Recorder()
    resumed = engine.render(request, observer, path, "offload,fp32,text=cpu,tile=256")
    assert resumed.resumed_from == STEPS and len(observer.of(Stage.DENOISING)) == 1
    assert resumed.sha256 == engine.render(request, Recorder()).sha256


def test_other_arithmetic_begins_anew(engine, path):
    stop_after(engine, small(), path, 3)
    clip = engine.render(small(), Recorder(), path, "resident,fp32,chunk=8")
    assert clip.resumed_from == 0 and "have changed" in clip.warnings[0]


def test_the_wan_21_image_layout_is_resumed_too(settings, path):
    tiny.write_wan21_image(settings.models / "wan2.1-i2v-14b-480p")
    request = with_image(settings, model="wan2.1-i2v-14b-480p")
    with Engine(replace(settings, checkpoint_seconds=0.0)) as engine:
        stop_after(engine, request, path, 3)
        resumed = engine.render(request, Recorder(), path)
        assert (resumed.resumed_from, resumed.sha256) == (3, engine.render(request, Recorder()).sha256)


def test_seconds_count_what_the_earlier_run_did(engine, path):
    stop_after(engine, small(), path, 4)
    with safe_open(path, framework="pt") as file:
        before = json.loads(file.metadata()["facts"])["seconds"]
    assert engine.render(small(), Recorder(), path).seconds["denoising"] > before > 0


@pytest.mark.parametrize("step", first_only([1, STEPS]))
def test_a_process_killed_at_a_step_goes_on_in_another(settings, engine, path, step):
    request = small(scheduler=SchedulerName.UNIPC)
    whole = engine.render(request, Recorder()).sha256
    ended = _render_elsewhere(settings, request, path, WAN_STUDIO_CRASH=f"checkpoint-saved:{step}")
    assert ended.returncode != 0 and not ended.stdout
    resumed = engine.render(request, Recorder(), path)
    assert (resumed.resumed_from, resumed.sha256) == (step, whole)


def _render_elsewhere(settings, request, path, **environment) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys, pathlib; from wan_pipeline.settings import Settings;"
        "from wan_pipeline.engine.engine import Engine;"
        "from wan_pipeline.requests.request import GenerationRequest; from tests.support.observers import Recorder;"
        "workspace, models, demo, request, path = sys.argv[1:];"
        "settings = Settings(pathlib.Path(workspace), models=pathlib.Path(models),"
        " demo_checkpoint=pathlib.Path(demo), checkpoint_seconds=0.0);"
        "print(Engine(settings).render(GenerationRequest.from_json(request), Recorder(), pathlib.Path(path)).sha256)"
    )
    folders = (settings.workspace, settings.models, settings.demo_checkpoint)
    return python(code, *folders, request.to_json(), path, **environment)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged"),
        (lambda path: _flip_last_bit(path), "damaged"),
        (lambda path: _change_facts(path), "damaged"),
        (lambda path: save_file({"latents": torch.zeros(1)}, path), "have changed"),
    ],
)
def test_a_damaged_file_means_a_new_start_and_a_warning(engine, path, change, words):
    whole = engine.render(small(), Recorder()).sha256
    stop_after(engine, small(), path, 3)
    change(path)
    again = engine.render(small(), Recorder(), path)
    assert (again.sha256, again.resumed_from) == (whole, 0)
    assert len(again.warnings) == 1 and words in again.warnings[0]
    assert again.warnings[0].startswith("The clip was made from the start, because its checkpoint could not be used: ")


def _flip_last_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _change_facts(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(
        load_file(path), path, metadata={**metadata, "facts": metadata["facts"].replace('"step": 3', '"step": 2')}
    )


def test_what_another_request_left_is_not_used(engine, path):
    stop_after(engine, small(seed=1), path, 3)
    clip = engine.render(small(), Recorder(), path)
    assert clip.resumed_from == 0 and "the settings, files or versions have changed" in clip.warnings[0]
    assert clip.sha256 == engine.render(small(), Recorder()).sha256


def test_what_other_weights_left_is_not_used(settings, path):
    changed = replace(settings, checkpoint_seconds=0.0, demo_checkpoint=settings.models / "demo")
    tiny.write_demo(changed.demo_checkpoint, seed=1)
    with Engine(changed) as other:
        stop_after(other, small(), path, 3)
    with Engine(settings) as engine:
        clip = engine.render(small(), Recorder(), path)
        assert clip.resumed_from == 0 and "have changed" in clip.warnings[0]


def test_a_short_clip_saves_none(settings, path):
    with Engine(settings) as engine:
        engine.render(small(), Recorder(), path)
    assert not path.exists()


def test_the_file_stays_until_its_owner_removes_it_and_no_part_of_it(engine, path):
    engine.render(small(), Recorder(), path)
    assert [entry.name for entry in path.parent.iterdir()] == ["job.safetensors"]


def test_a_disk_that_refuses_costs_the_checkpoint_not_the_clip(engine, tmp_path):
    with read_only_disk(tmp_path / "disk") as disk:
        clip = engine.render(small(), Recorder(), disk / "job.safetensors")
    assert clip.sha256 == engine.render(small(), Recorder()).sha256
    assert len(clip.warnings) == 1 and clip.warnings[0].startswith("A checkpoint could not be saved: The folder")
