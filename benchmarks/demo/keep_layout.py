"""Measure whether a final of another size keeps its draft's layout: by the place of the object, with the demo model.

    python -m benchmarks.demo.keep_layout --output benchmarks/results/keep_layout.json

Each held-out prompt is rendered as a draft, and three times as a final of another size: with that size's own noise,
with the draft's noise resampled, and with its first steps at the draft's size. The judge finds the object in every
frame. Its distance from where it is in the draft is the mean over the frames that show it in both, in widths of the
frame. The judge also says whether object, colour, motion and place are what the prompt asks for.

`--final-steps` gives the finals more steps than their drafts. Rows are saved in `--work`, so that an interrupted run
resumes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported

# isort: split
import torch

from benchmarks.demo.quality import Task, draw_tasks
from benchmarks.demo.report import processor_name
from training.judge.judge import SEEN, Judge, to_pixels
from training.judge.nets import track_of
from wan_pipeline import __version__
from wan_pipeline.engine.device.placement import choose_device
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models.registry import DEMO
from wan_pipeline.progress import SilentObserver
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.requests.sampling.noise_size import LAYOUT_LEVEL
from wan_pipeline.settings import Settings, default_workspace

DRAFTS = ((192, 128), (256, 160))
"""Width and height. The first is below the model's own limits, and far from the sizes that it learned from."""
FINAL = (320, 192)
STEPS = 8
FRAMES = 17
NEAR = 0.05
"""Of the width."""
FINALS = ("own_noise", "resampled", "first_steps")


@dataclass(frozen=True)
class Row:
    """One prompt; distances in widths of the frame, None where a clip shows no object."""

    draft: str
    prompt: str
    seed: int
    own_noise: float | None
    resampled: float | None
    first_steps: float | None
    right: dict[str, bool]
    """Whether the judge finds all four of the prompt in the draft and in each final."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demo.keep_layout", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    parser.add_argument("--clips", type=int, default=50, help="how many prompts (50)")
    parser.add_argument("--draft", default="", help="make only rows of this size, such as 192x128 (all)")
    parser.add_argument("--final-steps", type=int, default=STEPS, help=f"of the finals ({STEPS}); drafts have {STEPS}")
    parser.add_argument("--work", type=Path, help="JSON lines: rows that are there are not made again")
    parser.add_argument("--workspace", type=Path, default=default_workspace())
    options = parser.parse_args()
    drafts = [(width, height) for width, height in DRAFTS if options.draft in ("", f"{width}x{height}")]
    settings = Settings(workspace=options.workspace)
    settings.make_folders()
    results = report(measure(settings, options.clips, options.final_steps, options.work, drafts), options.final_steps)
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in results.items() if name != "rows"}))


def measure(
    settings: Settings, clips: int, final_steps: int, work: Path | None, drafts: Sequence[tuple[int, int]]
) -> list[Row]:
    rows = [Row(**json.loads(line)) for line in work.read_text().splitlines()] if work and work.exists() else []
    done = {(row.draft, row.seed) for row in rows}
    with Engine(settings) as engine:
        viewer = Viewer(engine, Judge())
        for task in draw_tasks(clips, 0):
            missing = [(width, height) for width, height in drafts if (f"{width}x{height}", task.seed) not in done]
            for row in _rows(viewer, task, missing, final_steps) if missing else ():
                rows.append(row)
                print(f"{len(rows)}: {row}", file=sys.stderr)
                if work is not None:
                    with work.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
    return rows


def _rows(viewer: Viewer, task: Task, drafts: list[tuple[int, int]], final_steps: int) -> Iterator[Row]:
    chosen = Draft(prompt=task.prompt, seed=task.seed, num_frames=FRAMES, num_inference_steps=final_steps)
    final = resolve(chosen, DEMO, None, None, None)
    own = viewer.see(final, task)
    for width, height in drafts:
        size = f"{width}x{height}"
        draft = viewer.see(replace(final, width=width, height=height, num_inference_steps=STEPS), task)
        noise = viewer.see(replace(final, noise_size=size), task)
        steps = viewer.see(replace(final, noise_size=f"{size}@{LAYOUT_LEVEL:g}"), task)
        finals = {"own_noise": own, "resampled": noise, "first_steps": steps}
        right = {name: seen.is_right for name, seen in {"draft": draft, **finals}.items()}
        distances = {name: distance(draft.track, seen.track) for name, seen in finals.items()}
        yield Row(size, task.prompt, task.seed, **distances, right=right)


@dataclass(frozen=True)
class Seen:
    """A clip as the judge sees it."""

    track: torch.Tensor
    """Centre x and y and spread in units of the height, and area, of the object in each frame: (T, 4)."""
    is_right: bool


@dataclass(frozen=True)
class Viewer:
    """Renders clips and looks at them."""

    engine: Engine
    judge: Judge

    @torch.no_grad()
    def see(self, request: GenerationRequest, task: Task) -> Seen:
        frames = self.engine.render(request, SilentObserver()).frames
        verdict = self.judge.judge(frames)
        found = (verdict.obj, verdict.color, verdict.motion, verdict.place)
        return Seen(track_of(self.judge.find(to_pixels(frames))), found == task.combination)


def distance(one: torch.Tensor, other: torch.Tensor) -> float | None:
    """The mean distance of the object in two clips, in widths of the frame that the judge sees (5:3)."""
    seen = (one[:, 3] > SEEN) & (other[:, 3] > SEEN)
    if not bool(seen.any()):
        return None
    return round(float((one[seen, :2] - other[seen, :2]).norm(dim=1).mean()) * 3 / 5, 4)


def report(rows: list[Row], final_steps: int) -> dict[str, object]:
    """How many finals have the object where their drafts have it."""
    drafts = {
        f"{width}x{height}": [row for row in rows if row.draft == f"{width}x{height}"] for width, height in DRAFTS
    }
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "version": __version__,
        "device": choose_device().type,
        "processor": processor_name(),
        "torch": torch.__version__,
        "near": NEAR,
        "final": FINAL,
        "frames": FRAMES,
        "steps": STEPS,
        "final_steps": final_steps,
        "level": LAYOUT_LEVEL,
        "drafts": {size: {"clips": len(own), **_summary(own)} for size, own in drafts.items() if own},
        "rows": [asdict(row) for size in drafts for row in drafts[size]],
    }


def _summary(rows: list[Row]) -> dict[str, float]:
    found: dict[str, float] = {}
    found["draft_right"] = round(sum(row.right["draft"] for row in rows) / len(rows), 3)
    for name in FINALS:
        distances = [1.0 if getattr(row, name) is None else getattr(row, name) for row in rows]
        near = sum(value <= NEAR for value in distances) / len(rows)
        right = sum(row.right[name] for row in rows) / len(rows)
        found |= {f"{name}_near": round(near, 3), f"{name}_median": round(statistics.median(distances), 4)}
        found[f"{name}_right"] = round(right, 3)
    return found


if __name__ == "__main__":
    main()
