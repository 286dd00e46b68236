"""Measure whether a final of another size keeps its draft's layout: by the place of the object, with the demo model.

    python -m benchmarks.keep_layout --output benchmarks/results/keep_layout.json

Each held-out prompt is rendered as a draft, and twice as a final of another size: with that size's own noise, and with
the draft's noise resampled. The judge finds the object in every frame. Its distance from where it is in the draft is
the mean over the frames that show it in both, in widths of the frame.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported

# isort: split
import torch

from benchmarks.demo_quality import draw_tasks
from training.judge.judge import SEEN, Judge, to_pixels
from training.judge.nets import track_of
from wan_pipeline import __version__
from wan_pipeline.engine.device.placement import choose_device
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models.registry import DEMO
from wan_pipeline.progress import SilentObserver
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.settings import Settings, default_workspace

DRAFTS = ((192, 128), (256, 160))
"""Width and height. The first is below the model's own limits, and far from the sizes that it learned from."""
FINAL = (320, 192)
STEPS = 8
FRAMES = 17
NEAR = 0.05
"""Of the width."""


@dataclass(frozen=True)
class Row:
    """One prompt; distances in widths of the frame, None where a clip shows no object."""

    draft: str
    prompt: str
    seed: int
    own_noise: float | None
    resampled: float | None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.keep_layout", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    parser.add_argument("--clips", type=int, default=50, help="how many prompts (50)")
    parser.add_argument("--workspace", type=Path, default=default_workspace())
    options = parser.parse_args()
    settings = Settings(workspace=options.workspace)
    settings.make_folders()
    results = report(measure(settings, options.clips))
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in results.items() if name != "rows"}))


def measure(settings: Settings, clips: int) -> list[Row]:
    judge, rows = Judge(), []
    with Engine(settings) as engine:
        for task in draw_tasks(clips, 0):
            chosen = Draft(prompt=task.prompt, seed=task.seed, num_frames=FRAMES, num_inference_steps=STEPS)
            final = resolve(chosen, DEMO, None, None, None)
            own = _track(engine, judge, final)
            for width, height in DRAFTS:
                size = f"{width}x{height}"
                draft = _track(engine, judge, replace(final, width=width, height=height))
                kept = _track(engine, judge, replace(final, noise_size=size))
                rows.append(Row(size, task.prompt, task.seed, distance(draft, own), distance(draft, kept)))
                print(f"{len(rows)}/{clips * len(DRAFTS)} {rows[-1]}", file=sys.stderr)
    return rows


@torch.no_grad()
def _track(engine: Engine, judge: Judge, request: GenerationRequest) -> torch.Tensor:
    """Centre x and y and spread in units of the height, and area, of the object in each frame: (T, 4)."""
    return track_of(judge.find(to_pixels(engine.render(request, SilentObserver()).frames)))


def distance(one: torch.Tensor, other: torch.Tensor) -> float | None:
    """The mean distance of the object in two clips, in widths of the frame that the judge sees (5:3)."""
    seen = (one[:, 3] > SEEN) & (other[:, 3] > SEEN)
    if not bool(seen.any()):
        return None
    return round(float((one[seen, :2] - other[seen, :2]).norm(dim=1).mean()) * 3 / 5, 4)


def report(rows: list[Row]) -> dict[str, object]:
    """How many finals have the object where their drafts have it."""
    drafts = {
        f"{width}x{height}": [row for row in rows if row.draft == f"{width}x{height}"] for width, height in DRAFTS
    }
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "version": __version__,
        "device": choose_device().type,
        "near": NEAR,
        "final": FINAL,
        "frames": FRAMES,
        "steps": STEPS,
        "drafts": {size: {"clips": len(own), **_summary(own)} for size, own in drafts.items()},
        "rows": [asdict(row) for row in rows],
    }


def _summary(rows: list[Row]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("own_noise", "resampled"):
        distances = [1.0 if getattr(row, name) is None else getattr(row, name) for row in rows]
        near = sum(value <= NEAR for value in distances) / len(rows)
        found |= {f"{name}_near": round(near, 3), f"{name}_median": round(statistics.median(distances), 4)}
    return found


if __name__ == "__main__":
    main()
