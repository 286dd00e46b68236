"""One clip, one answer: the command line, the Models room, the form and the engine plan and forecast alike."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from tests.jobs.test_queue import finished
from tests.support.requests import Silence
from wan_pipeline.access.callers import Caller
from wan_pipeline.access.roles import Role
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.cli import main
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models import registry
from wan_pipeline.models.spec import LastImage, Mode
from wan_pipeline.planning.hardware import Hardware, save_hardware
from wan_pipeline.planning.machine import GIB
from wan_pipeline.planning.planner import Planner
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio

RAM_GIB = 48
LARGE_CARD = Hardware("cuda", "a card", 80 * GIB, 80 * GIB, RAM_GIB * GIB, RAM_GIB * GIB)


@pytest.fixture(autouse=True)
def free_memory(monkeypatch):
    class Memory:
        total = available = RAM_GIB * GIB

    monkeypatch.setattr("wan_pipeline.planning.hardware.psutil.virtual_memory", Memory)


def own_draft(spec, folder) -> Draft:
    """What the form holds when only the model is chosen, with the images that the model cannot do without."""
    image = folder / "image.png"
    Image.new("RGB", (spec.sizes[0].width, spec.sizes[0].height)).save(image)
    first = None if Mode.TEXT_TO_VIDEO in spec.modes else image
    return Draft(
        "a boat", model=spec.id, image=first, last_image=image if spec.last_image is LastImage.REQUIRED else None
    )


def by_command(capsys, settings, model, vram_gib, *options):
    """What `plan --json` prints, but for the clip that it is about."""
    folders = [f"--workspace={settings.workspace}", f"--loras-folder={settings.loras}"]
    memory = [f"--vram={vram_gib}GiB", f"--ram={RAM_GIB}GiB"]
    assert main(["plan", "--model", model, *memory, *options, "--json", *folders]) == 0
    printed = json.loads(capsys.readouterr().out)
    return {name: value for name, value in printed.items() if name not in ("model", "width", "height", "frames")}


def by_engine(monkeypatch, studio, hardware, draft, tiny_model):
    """The text of the plan that the engine would make the clip by, on that hardware. The model's files are tiny."""
    if draft.model != registry.DEFAULT_MODEL:
        (studio.settings.models / draft.model).symlink_to(tiny_model, target_is_directory=True)
    request, machine = studio.requests.resolve(draft), hardware.machine
    with monkeypatch.context() as patch, Engine(studio.settings) as engine:
        patch.setattr(Hardware, "machine_of", lambda probed, workers: machine)
        return engine.provenance(request, Silence()).plan


@pytest.mark.parametrize("gib", [7.2, 10.8, 22.0])
@pytest.mark.parametrize("model", registry.MODELS)
def test_the_same_clip_gets_the_same_plan_everywhere(
    model, gib, studio, settings, tmp_path, tiny_demo, capsys, monkeypatch
):
    spec, hardware = registry.find(model), replace(LARGE_CARD, vram_free=int(gib * GIB))
    save_hardware(hardware, settings.cache)
    draft = own_draft(spec, tmp_path)
    on_form = studio.estimates.of_draft(draft)
    assert on_form.forecast.to_dict() == by_command(capsys, settings, model, gib)
    if on_form.fits:
        assert on_form.text.startswith(f"fits: {on_form.forecast.peak_vram / GIB:.1f} of 80.0 GB, about ")
    in_models_room = studio.estimates.of_model(model)
    if spec.missing:  # nobody can render it
        assert in_models_room is None
        return
    assert in_models_room.forecast == on_form.forecast
    assert in_models_room.seconds == on_form.seconds == pytest.approx(on_form.forecast.seconds)
    assert Planner(settings, studio.loras).choose(own_request(spec), spec, hardware.machine) == on_form.forecast
    assert by_engine(monkeypatch, studio, hardware, draft, tiny_demo) == str(on_form.forecast.plan)


@pytest.mark.parametrize("gib", [7.2, 10.8, 22.0])
@pytest.mark.parametrize("model", ["wan2.2-i2v-a14b", "wan2.1-vace-1.3b", "wan2.2-ti2v-5b"])
def test_a_memory_limit_is_the_same_as_a_smaller_card(model, gib, settings, tmp_path, tiny_demo, capsys, monkeypatch):
    limited, draft = Studio(replace(settings, memory_limit=gib)), own_draft(registry.find(model), tmp_path)
    save_hardware(LARGE_CARD, settings.cache)
    printed = by_command(capsys, settings, model, gib)
    assert by_command(capsys, settings, model, 80, f"--memory-limit={gib}GiB") == printed
    assert limited.estimates.of_draft(draft).forecast.to_dict() == printed
    assert by_engine(monkeypatch, limited, LARGE_CARD, draft, tiny_demo) == printed["plan"]


def test_09_one_clip_has_one_estimate_wherever_it_is_told(studio, settings, queue, database, capsys):
    """The Models room told the forecast, 8 s, and the form what the last clip took, 50 s."""
    save_hardware(Hardware("cpu", "a processor", 0, 0, RAM_GIB * GIB, RAM_GIB * GIB), settings.cache)
    request = replace(own_request(registry.find("demo")), prompt="a boat")
    queue.editor.submit(request)
    seconds = {"loading": 1.0, "denoising": 40.0, "decoding": 8.0, "saving": 2.0}
    queue.worker.finish(queue.worker.claim().id, finished(database, request=request, seconds=seconds))
    draft, folders = Draft("a boat"), [f"--workspace={settings.workspace}", f"--loras-folder={settings.loras}"]
    told = {
        "form": studio.estimates.of_draft(draft).seconds,
        "models": studio.estimates.of_model("demo").seconds,
        "list": studio.estimates.of_drafts([draft]).seconds,
        "api": CallerStudio(studio, Caller(Role.OWNER)).forecast(draft).clip_seconds,
    }
    assert main(["plan", "--json", *folders]) == 0
    told["plan"] = json.loads(capsys.readouterr().out)["seconds"]
    assert main(["doctor", "--json", *folders]) == 0
    told["doctor"] = json.loads(capsys.readouterr().out)["models"]["demo"]["seconds"]
    assert told == dict.fromkeys(told, pytest.approx(51.0, abs=0.1))
    waiting = queue.editor.submit(request)
    assert studio.estimates.queue_seconds() == pytest.approx(51.0, abs=0.1)
    queue.worker.claim()
    queue.worker.progress(waiting, Progress(Stage.DENOISING, 4, 16, 30.0))
    assert studio.estimates.seconds_left(queue.jobs.job(waiting)) == pytest.approx(30.0 + 8.0)


def test_an_image_model_counts_the_image_that_it_encodes(settings, capsys):
    """At 10.8 GiB the encoder, and not denoising, is what takes most."""
    printed = by_command(capsys, settings, "wan2.2-i2v-a14b", 10.8)
    assert printed["peak_vram_gib"] == pytest.approx(10.2, abs=0.1)
