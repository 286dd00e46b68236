"""Clips and machines that the planning tests share."""

from __future__ import annotations

from dataclasses import replace

from wan_pipeline.models import registry
from wan_pipeline.models.spec import Availability
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB, REFERENCE, Machine
from wan_pipeline.planning.selection import select_plan

RELEASED = [spec.id for spec in registry.MODELS.values() if spec.availability is not Availability.ANNOUNCED]
SMALL = Geometry(832, 480, 81, 100)
CLIPS = [Geometry(width, height, 81, 80) for width, height in ((832, 480), (1280, 720), (1920, 1088))]


def device(vram=7.2, ram=64.0, **machine) -> Machine:
    """The reference machine with this much memory, in GiB."""
    return replace(REFERENCE, vram=vram * GIB, ram=ram * GIB, **machine)


def plan(model="wan2.1-t2v-14b", clip=SMALL, vram=7.2, ram=64.0, precision=None, only=None, **machine):
    return select_plan(registry.find(model), clip, device(vram, ram, **machine), precision, only)
