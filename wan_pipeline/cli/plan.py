"""`plan` and `doctor`: what a clip would need, on this machine or another, and what this one can run."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import Any

from wan_pipeline.cli.common import Commands, add_folders, add_memory, settings
from wan_pipeline.errors import RequestError
from wan_pipeline.models import registry
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Availability, ModelSpec
from wan_pipeline.planning.choice import plan_of
from wan_pipeline.planning.costs import GIB, Geometry, Machine, without_device
from wan_pipeline.planning.planner import Plan, make_plan
from wan_pipeline.requests import options as words
from wan_pipeline.settings import Settings
from wan_pipeline.wording import duration

PLAN = "Print how a clip would be made within the memory, and what it would take; for a machine that need not be this."
DOCTOR = "Say what this machine has, and which models it can run at their own settings."
MIN_STEPS = 1


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    plan = commands.add_parser("plan", help="forecast memory and time of a clip", description=PLAN, allow_abbrev=False)
    plan.add_argument("--model", default=registry.DEFAULT_MODEL, help="one of `models list` (%(default)s)")
    plan.add_argument("--width", type=int, help="pixels (the model's own)")
    plan.add_argument("--height", type=int, help="pixels (the model's own)")
    plan.add_argument("--frames", type=int, help="(the model's own)")
    plan.add_argument("--steps", type=int, help="(the model's own)")
    plan.add_argument("--quantization", choices=[kind.value for kind in Precision], help="(as the memory allows)")
    plan.add_argument(
        "--vram", type=words.memory, metavar="GIB", help="free memory of the device; 0 is no device (this one's)"
    )
    plan.add_argument("--ram", type=words.memory, metavar="GIB", help="free memory of the machine (this one's)")
    add_memory(plan)
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.set_defaults(run=run_plan)
    add_folders(plan)
    doctor = commands.add_parser("doctor", help="say what this machine can run", description=DOCTOR, allow_abbrev=False)
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=run_doctor)
    add_folders(doctor)


def run_plan(options: argparse.Namespace) -> int:
    folders = settings(options)
    spec = ModelLibrary(folders).spec(options.model)
    clip = _geometry(spec, options)
    precision = Precision(options.quantization) if options.quantization else None
    machine = _machine(options.vram, options.ram, folders)
    plan = plan_of(folders.plan, spec, clip, machine, precision, compiled=folders.compiled)
    if options.json:
        size = {"width": clip.width, "height": clip.height, "frames": clip.num_frames}
        print(json.dumps({"model": spec.id, **size, **plan.to_dict()}))
    else:
        print("\n".join(_lines(plan, machine)))
    return 0


def run_doctor(options: argparse.Namespace) -> int:
    from wan_pipeline.engine.device.placement import choose_device  # here and below: importing torch takes seconds
    from wan_pipeline.engine.device.probe import probe

    folders = settings(options)
    hardware = probe(choose_device(folders.device), folders.cache)
    free_disk = shutil.disk_usage(folders.workspace if folders.workspace.is_dir() else ".").free
    plans = {spec.id: _own_plan(spec, hardware.machine) for spec in _runnable()}
    if options.json:
        facts = {name: getattr(hardware, name) for name in ("device", "name")}
        sizes = {f"{name}_gib": round(getattr(hardware, name) / GIB, 2) for name in _SIZES}
        models = {name: plan.to_dict() for name, plan in plans.items()}
        print(json.dumps({**facts, **sizes, "disk_free_gib": round(free_disk / GIB, 2), "models": models}))
        return 0
    print(f"device  {hardware.device}: {hardware.name}")
    if hardware.vram_total:
        print(f"        {hardware.vram_free / GIB:.1f} of {hardware.vram_total / GIB:.1f} GiB free")
    print(f"memory  {hardware.ram_free / GIB:.1f} of {hardware.ram_total / GIB:.1f} GiB free")
    print(f"disk    {free_disk / GIB:.1f} GiB free")
    for name, plan in plans.items():
        print(f"{name:<22}{_summary(plan)}")
    return 0


_SIZES = ("vram_total", "vram_free", "ram_total", "ram_free")


def _runnable() -> list[ModelSpec]:
    released = (spec for spec in registry.MODELS.values() if spec.availability is not Availability.ANNOUNCED)
    return [spec for spec in released if not spec.missing]


def _own_plan(spec: ModelSpec, machine: Machine) -> Plan:
    size = spec.sizes[0]
    return make_plan(spec, Geometry(size.width, size.height, spec.num_frames, 2 * spec.num_inference_steps), machine)


def _geometry(spec: ModelSpec, options: argparse.Namespace) -> Geometry:
    size = spec.sizes[0]
    own = (size.width, size.height, spec.num_frames, spec.num_inference_steps)
    asked = (options.width, options.height, options.frames, options.steps)
    width, height, frames, steps = (mine if wish is None else wish for mine, wish in zip(own, asked, strict=True))
    for name, value in (("width", width), ("height", height)):
        if value < spec.min_side or value % spec.size_multiple:
            raise RequestError(
                name,
                f"{name} {value} is not a multiple of {spec.size_multiple} from {spec.min_side} on; choose another.",
            )
    if frames < 1 or (frames - 1) % spec.temporal_compression:
        raise RequestError(
            "num_frames",
            f"{frames} frames is not a multiple of {spec.temporal_compression} and one more; choose another.",
        )
    if steps < MIN_STEPS:
        raise RequestError("num_inference_steps", f"{steps} steps is below {MIN_STEPS}; choose more.")
    return Geometry(width, height, frames, steps * (2 if spec.guidance_scale > 1 else 1))


def _machine(vram: float | None, ram: float | None, folders: Settings) -> Machine:
    """GiB free; what is None is probed on this machine."""
    limit, device = folders.memory_limit, folders.device
    if vram is None or ram is None:
        from wan_pipeline.engine.device.placement import choose_device
        from wan_pipeline.engine.device.probe import probe

        here = probe(choose_device(device))
        vram = here.vram_free / GIB if vram is None else vram
        ram = here.ram_free / GIB if ram is None else ram
    return Machine(min(vram, limit or vram) * GIB, ram * GIB) if vram else without_device(ram * GIB)


def _lines(plan: Plan, machine: Machine) -> list[str]:
    """For a person."""
    memory, stays = plan.memory, f"{plan.resident_blocks} of {plan.blocks} stay, the others stream"
    facts: dict[str, Any] = {
        "plan": _summary(plan, machine),
        "as text": str(memory),
        "weights": memory.precision,
        "blocks": stays if plan.is_streamed else "all stay",
        "experts on disk": memory.disk or None,
        "tokens at a time": memory.chunk or "all",
        "text encoder": memory.text,
        "decoder": f"{memory.vae}, {f'in tiles of {memory.tile} pixels' if memory.tile else 'whole frames'}",
    }
    facts |= {
        stage: f"{need.vram / GIB:.1f} GiB, {duration(need.seconds)}" for stage, need in plan.forecast.needs.items()
    }
    return [f"{name:<18}{value}" for name, value in facts.items() if value is not None]


def _summary(plan: Plan, machine: Machine | None = None) -> str:
    if not plan.fits:
        return f"does not fit: {plan.reason}"
    on_device = plan.forecast.peak_vram > 0
    peak = plan.forecast.peak_vram if on_device else plan.forecast.ram
    limit = (machine.vram if on_device else machine.ram) if machine else None
    room = f"{peak / GIB:.1f}" + (f" of {limit / GIB:.1f}" if limit else "")
    return f"fits: {room} GiB, about {duration(plan.forecast.seconds)}, {plan.memory.precision} weights"
