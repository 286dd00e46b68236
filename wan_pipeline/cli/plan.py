"""`plan` and `doctor`: what a clip takes on any machine, and what this machine can run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import (
    Commands,
    add_devices,
    add_folders,
    add_memory,
    add_project,
    opened_studio,
    reporting_new_projects,
    settings,
)
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.planning.machine import GIB, Machine, parse_gib, without_device
from wan_pipeline.settings import Settings
from wan_pipeline.wording import duration

if TYPE_CHECKING:
    from wan_pipeline.planning.forecast import Forecast
    from wan_pipeline.planning.planner import Planner
    from wan_pipeline.requests.request import Draft, GenerationRequest

PLAN = "Forecast the memory plan, memory and time of a clip, on this machine or another, without making it."
DOCTOR = "Show what this machine has, and which models it can run at their own settings."

_SIZES = ("vram_total", "vram_free", "ram_total", "ram_free")


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    plan = commands.add_parser("plan", help="forecast memory and time of a clip", description=PLAN, allow_abbrev=False)
    plan.add_argument("--model", help=f"one of `models list` ({registry.DEFAULT_MODEL})")
    add_project(plan, "whose setup the clip has; made if it is new", profile=True)
    plan.add_argument("--width", type=int, help="pixels (the model's own)")
    plan.add_argument("--height", type=int, help="pixels (the model's own)")
    plan.add_argument("--frames", type=int, help="(the model's own)")
    plan.add_argument("--steps", type=int, help="(the model's own)")
    plan.add_argument("--quantization", choices=[kind.value for kind in Precision], help="(as the memory allows)")
    plan.add_argument(
        "--vram", type=parse_gib, metavar="GIB", help="free memory of the device; 0: no device (this one's)"
    )
    plan.add_argument("--ram", type=parse_gib, metavar="GIB", help="free memory of the machine (this one's)")
    add_memory(plan)
    add_devices(plan)
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(run=run_plan)
    add_folders(plan)
    doctor = commands.add_parser(
        "doctor", help="show what this machine can run", description=DOCTOR, allow_abbrev=False
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=run_doctor)
    add_devices(doctor)
    add_folders(doctor)


def run_plan(options: argparse.Namespace) -> int:
    from wan_pipeline.models.library import ModelLibrary  # here and below: --help needs none of it
    from wan_pipeline.projects.store import Projects
    from wan_pipeline.requests.own_clip import own_request

    folders, draft = settings(options), _draft(options)
    _show_devices(folders)
    if options.project or Projects(folders.projects).layers("", options.profile):
        draft = _in_project(options, draft)
    spec = ModelLibrary(folders).spec(draft.model or registry.DEFAULT_MODEL)
    request = own_request(spec, draft)
    machine = _machine(options, folders)
    forecast = _planner(folders).choose(request, spec, machine)
    is_here = options.vram is None and options.ram is None
    seconds = _seconds(folders, {spec.id: request}).get(spec.id, forecast.seconds) if is_here else forecast.seconds
    if options.json:
        size = {"width": request.width, "height": request.height, "frames": request.num_frames}
        print(json.dumps({"model": spec.id, **size, **forecast.to_dict(), "seconds": round(seconds, 1)}))
    else:
        print("\n".join(_lines(forecast, seconds, _free_gib(machine, folders))))
    return 0


def run_doctor(options: argparse.Namespace) -> int:
    from wan_pipeline.engine.device.placement import choose_device  # here and below: importing torch takes seconds
    from wan_pipeline.engine.device.probe import probe
    from wan_pipeline.requests.own_clip import own_request

    folders = settings(options)
    _show_devices(folders)
    hardware, planner = probe(choose_device(folders.device), folders.cache), _planner(folders)
    free_disk = shutil.disk_usage(folders.workspace if folders.workspace.is_dir() else ".").free
    requests = {spec.id: own_request(spec) for spec in _runnable()}
    machine = replace(hardware, second_free=_second(folders)).machine_of(len(folders.slots), is_alone=True)
    forecasts = {spec.id: planner.choose(requests[spec.id], spec, machine) for spec in _runnable()}
    seconds = {name: forecast.seconds for name, forecast in forecasts.items()} | _seconds(folders, requests)
    if options.json:
        facts = {name: getattr(hardware, name) for name in ("device", "name")}
        sizes = {f"{name}_gib": round(getattr(hardware, name) / GIB, 2) for name in _SIZES}
        models = {name: {**made.to_dict(), "seconds": round(seconds[name], 1)} for name, made in forecasts.items()}
        print(json.dumps({**facts, **sizes, "disk_free_gib": round(free_disk / GIB, 2), "models": models}))
        return 0
    print(f"device  {hardware.device}: {hardware.name}")
    if hardware.vram_total:
        print(f"        {hardware.vram_free / GIB:.1f} of {hardware.vram_total / GIB:.1f} GiB free")
    print(f"memory  {hardware.ram_free / GIB:.1f} of {hardware.ram_total / GIB:.1f} GiB free")
    print(f"disk    {free_disk / GIB:.1f} GiB free")
    for model_id, forecast in forecasts.items():
        print(f"{model_id:<22}{_summary(forecast, seconds[model_id])}")
    return 0


def _draft(options: argparse.Namespace) -> Draft:
    from wan_pipeline.requests.request import Draft

    return Draft(
        model=options.model,
        width=options.width,
        height=options.height,
        num_frames=options.frames,
        num_inference_steps=options.steps,
        quantization=options.quantization,
    )


def _in_project(options: argparse.Namespace, draft: Draft) -> Draft:
    """The draft with what its project's setup gives it."""
    from wan_pipeline.requests.layers import chosen_by

    with opened_studio(options) as studio:
        layers = studio.projects.layers(options.project, options.profile)
        values = studio.requests.within(layers).merged(draft).values
        with reporting_new_projects(studio, [options.project]):
            studio.projects.ensure(options.project)
        return replace(chosen_by(draft, layers), **values, preset=None, quality=None, speed=None)


def _seconds(folders: Settings, requests: Mapping[str, GenerationRequest]) -> dict[str, float]:
    """What the page says that these clips take here, by model; nothing in a workspace that is not there yet."""
    if not folders.database.is_file():
        return {}
    from wan_pipeline.clips.inputs.files import InputFiles
    from wan_pipeline.jobs.estimates.estimator import Estimator
    from wan_pipeline.jobs.table.reader import JobReader
    from wan_pipeline.lora.library import LoraLibrary
    from wan_pipeline.models.library import ModelLibrary
    from wan_pipeline.requests.resolver import RequestResolver
    from wan_pipeline.storage.database import Database

    models, loras = ModelLibrary(folders), LoraLibrary(folders.loras)
    resolver = RequestResolver(models, {}, {}, loras, InputFiles(folders.inputs))
    estimates = Estimator(folders, resolver, JobReader(Database(folders.database), folders))
    return {model_id: estimates.seconds(request) for model_id, request in requests.items()}


def _planner(folders: Settings) -> Planner:
    from wan_pipeline.lora.library import LoraLibrary
    from wan_pipeline.planning.planner import Planner

    return Planner(folders, LoraLibrary.of(folders))


def _runnable() -> list[ModelSpec]:
    released = (spec for spec in registry.MODELS.values() if spec.availability is not Availability.ANNOUNCED)
    return [spec for spec in released if not spec.missing]


def _machine(options: argparse.Namespace, folders: Settings) -> Machine:
    """The machine to plan for: this one, but for the memory that the options give."""
    if options.vram is not None and options.ram is not None:
        return _other_machine(options.vram * GIB, options.ram * GIB)
    from wan_pipeline.engine.device.placement import choose_device
    from wan_pipeline.engine.device.probe import probe

    cache = folders.cache if options.vram is None else None  # with the speeds of this device
    here = probe(choose_device(folders.device), cache)
    ram = here.ram_free if options.ram is None else int(options.ram * GIB)
    if options.vram is not None:
        return _other_machine(options.vram * GIB, ram)
    return replace(here, ram_free=ram, second_free=_second(folders)).machine_of(len(folders.slots), is_alone=True)


def _show_devices(folders: Settings) -> None:
    """Number the GPUs as a worker sees them: those of `--devices` alone, in their order."""
    from wan_pipeline.jobs.launch import visible_devices

    os.environ.update(visible_devices(folders))


def _second(folders: Settings) -> int:
    """Free memory of the second of `--devices`, in bytes."""
    if len(folders.slots) < 2:
        return 0
    from wan_pipeline.engine.device.placement import choose_placement
    from wan_pipeline.engine.device.second import second_free

    return second_free(folders, choose_placement(folders.device))


def _other_machine(vram: float, ram: float) -> Machine:
    """A machine of which the memory is known, in bytes, and no speeds."""
    return Machine(vram, ram) if vram else without_device(ram)


def _free_gib(machine: Machine, folders: Settings) -> float:
    """What a plan has to fit into: the device's memory, or without a device the machine's."""
    if not machine.vram:
        return machine.ram / GIB
    return min(machine.vram / GIB, folders.memory_limit or machine.vram / GIB)


def _lines(forecast: Forecast, seconds: float, free_gib: float) -> list[str]:
    """The forecast for a person."""
    plan = forecast.plan
    streamed = f"{forecast.resident_blocks} of {forecast.blocks} stay, the others stream"
    facts: dict[str, Any] = {
        "plan": _summary(forecast, seconds, free_gib),
        "as text": str(plan),
        "weights": plan.precision,
        "blocks": streamed if forecast.is_streamed else "all stay",
        "experts on disk": plan.disk or None,
        "tokens at a time": plan.chunk or "all",
        "on two GPUs": _shared(forecast),
        "text encoder": plan.text,
        "decoder": f"{plan.vae}, {f'in tiles of {plan.tile} pixels' if plan.tile else 'whole frames'}",
    }
    costs = forecast.costs.items()
    facts |= {stage.value: f"{cost.vram / GIB:.1f} GiB, {duration(cost.seconds)}" for stage, cost in costs}
    return [f"{name:<18}{value}" for name, value in facts.items() if value is not None]


def _shared(forecast: Forecast) -> str | None:
    """What two GPUs share; None where there is one."""
    plan, second = forecast.plan, f"{forecast.second_vram / GIB:.1f} GiB of the second"
    if plan.devices.is_one:
        return None
    return f"a guidance branch each; {second}" if plan.branches > 1 else f"half of the tokens each; {second}"


def _summary(forecast: Forecast, seconds: float, free_gib: float | None = None) -> str:
    if not forecast.fits:
        return f"does not fit: {forecast.reason}"
    peak = (forecast.peak_vram or forecast.peak_ram) / GIB
    limit = "" if free_gib is None else f" of {free_gib:.1f}"
    return f"fits: {peak:.1f}{limit} GiB, about {duration(seconds)}, {forecast.plan.precision} weights"
