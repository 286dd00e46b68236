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
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models.registry import DEMO
from wan_pipeline.progress import SilentObserver
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.settings import Settings, default_workspace

DRAFT, FINAL = (192, 128), (320, 192)
"""Width and height. The draft's is below the model's own limits: it is composed all the same."""
FRAMES = 17
NEAR = 0.05
"""Of the width."""


@dataclass(frozen=True)
class Row:
    """One prompt; distances in widths of the frame, None where a clip shows no object."""

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
    parser.add_argument("--draft-steps", type=int, default=6)
    parser.add_argument("--final-steps", type=int, default=12)
    parser.add_argument("--workspace", type=Path, default=default_workspace())
    options = parser.parse_args()
    settings = Settings(workspace=options.workspace)
    settings.make_folders()
    rows = measure(settings, options.clips, options.draft_steps, options.final_steps)
    results = report(rows) | {"draft_steps": options.draft_steps, "final_steps": options.final_steps}
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in results.items() if name != "rows"}))


def measure(settings: Settings, clips: int, draft_steps: int, final_steps: int) -> list[Row]:
    judge, rows = Judge(), []
    with Engine(settings) as engine:
        for task in draw_tasks(clips, 0):
            base = resolve(Draft(prompt=task.prompt, seed=task.seed, num_frames=FRAMES), DEMO, None, None, None)
            draft = _sized(base, DRAFT, draft_steps)
            final = _sized(base, FINAL, final_steps)
            kept = replace(final, noise_size=f"{DRAFT[0]}x{DRAFT[1]}")
            one, own, other = (_track(engine, judge, request) for request in (draft, final, kept))
            rows.append(Row(task.prompt, task.seed, distance(one, own), distance(one, other)))
            print(f"{len(rows)}/{clips} {rows[-1]}", file=sys.stderr)
    return rows


def _sized(request: GenerationRequest, size: tuple[int, int], steps: int) -> GenerationRequest:
    return replace(request, width=size[0], height=size[1], num_inference_steps=steps)


def _track(engine: Engine, judge: Judge, request: GenerationRequest) -> torch.Tensor:
    """Centre x and y and spread in units of the height, and area, of the object in each frame: (T, 4)."""
    return track_of(judge.find(to_pixels(engine.render(request, SilentObserver()).frames)))


def distance(one: torch.Tensor, other: torch.Tensor) -> float | None:
    """The mean distance of the object in two clips, in widths of the frame that the judge sees (5:3)."""
    seen = (one[:, 3] > SEEN) & (other[:, 3] > SEEN)
    if not bool(seen.any()):
        return None
    return float((one[seen, :2] - other[seen, :2]).norm(dim=1).mean()) * 3 / 5


def report(rows: list[Row]) -> dict[str, object]:
    """How many finals have the object where their drafts have it."""
    found: dict[str, object] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "version": __version__, "clips": len(rows)}
    for name in ("own_noise", "resampled"):
        distances = [getattr(row, name) for row in rows]
        near = sum(value is not None and value <= NEAR for value in distances)
        median = statistics.median([1.0 if value is None else value for value in distances])
        found |= {f"{name}_near": round(near / len(rows), 3), f"{name}_median": round(median, 4)}
    return {**found, "near": NEAR, "draft": DRAFT, "final": FINAL, "frames": FRAMES, "rows": [asdict(r) for r in rows]}


if __name__ == "__main__":
    main()
