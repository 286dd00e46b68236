"""How a model shares the device's memory: a ladder of plans, the roomiest and quickest first. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.errors import GenerationError


@dataclass(frozen=True)
class MemoryPlan:
    name: str
    offloads: bool = False
    """The model's parts wait in the machine's own memory and visit the device one at a time."""
    tiles: bool = False
    """The decoder takes each frame in overlapping tiles: half the speed, and not the same bits as in one piece."""


LADDER = (
    MemoryPlan("resident"),
    MemoryPlan("offload", offloads=True),
    MemoryPlan("tiled", offloads=True, tiles=True),
)


def find_plan(name: str) -> MemoryPlan:
    """The plan of that name; no name means the first of the ladder. Raises GenerationError."""
    if not name:
        return LADDER[0]
    for plan in LADDER:
        if plan.name == name:
            return plan
    known = ", ".join(plan.name for plan in LADDER)
    raise GenerationError(f"There is no memory plan '{name[:40]}'; this version knows: {known}.")


def smaller_plan(plan: MemoryPlan, on_cpu: bool) -> str | None:
    """The name of the next plan that takes less, or None at the end. On the CPU there is nowhere else to offload to."""
    below = LADDER[LADDER.index(plan) + 1 :]
    useful = [step for step in below if not on_cpu or step.tiles != plan.tiles]
    return useful[0].name if useful else None
