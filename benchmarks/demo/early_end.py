"""Measure what ending drafts early saves and changes: a few held-out prompts of the demo, judged from pixels.

    python -m benchmarks.demo.early_end --output benchmarks/results/early_end.json

Each prompt is made with all steps, noting how the clean clip changes after each, and with an early end from
the same seed. The changes tell where every other amount would have ended, too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported

# isort: split
import torch

from benchmarks.demo.caches import adherence, opened_engine
from benchmarks.demo.quality import DEMO, Task, draw_tasks, judged, psnr, warm_up
from benchmarks.demo.report import machine
from training.judge import Judge
from wan_pipeline.engine import engine as engine_module
from wan_pipeline.engine.early_end import EarlyEnd, change_between
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.rendered import Rendered
from wan_pipeline.progress import SilentObserver, Stage
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.requests.sampling.early_end import ALWAYS, MAX_CHANGE
from wan_pipeline.settings import Settings

AMOUNTS = (0.25, 0.5, 0.75, 1.0)
Row = dict[str, Any]


@contextmanager
def noting_changes() -> Iterator[list[float]]:
    """Context manager: the change of the clean clip after each step but the first, of clips that do all steps."""
    changes: list[float] = []

    class Noting(EarlyEnd):
        def ends(self, done: int, clean: torch.Tensor, noise_level: float) -> bool:
            if self.clean is not None:
                changes.append(round(change_between(self.clean, clean), 5))
            self.clean = clean
            return False

    with patch.object(engine_module, "EarlyEnd", Noting):
        yield changes


def measure(task: Task, amount: float, steps: int, engine: Engine, judge: Judge) -> Row:
    """One prompt with all steps, and with an early end."""
    request = resolve(Draft(prompt=task.prompt, seed=task.seed, num_inference_steps=steps), DEMO, None, None, None)
    with noting_changes() as changes:
        whole = engine.render(request, SilentObserver())
    ended = engine.render(replace(request, early_end=amount), SilentObserver())
    row: Row = {"name": task.name, "combination": task.combination, "changes": list(changes)}
    row |= {"ends_at": {str(one): end_of(changes, one, steps) for one in AMOUNTS}}
    row |= {"steps": ended.ended_at or steps, "psnr_db": round(psnr(whole.frames, ended.frames), 2)}
    row |= {"denoising_s": [round(seconds_of(clip), 2) for clip in (whole, ended)]}
    return {
        **row,
        "whole": judged({"combination": task.combination}, judge.judge(whole.frames)),
        "ended": judged({"combination": task.combination}, judge.judge(ended.frames)),
    }


def end_of(changes: list[float], amount: float, steps: int) -> int:
    """Steps after which a clip of these changes ends; the first of them is that of the second step."""
    settled = (
        step for step, change in enumerate(changes, 2) if step >= ALWAYS * steps and change < MAX_CHANGE * amount
    )
    return next(settled, steps)


def seconds_of(clip: Rendered) -> float:
    return clip.seconds[Stage.DENOISING.value]


def summary(rows: list[Row], amount: float, steps: int) -> Row:
    whole, ended = ([row[kind] for row in rows] for kind in ("whole", "ended"))
    return {
        "amount": amount,
        "steps": steps,
        "clips": len(rows),
        "steps_done": round(mean(row["steps"] for row in rows), 2),
        "faster": round(sum(row["denoising_s"][0] for row in rows) / sum(row["denoising_s"][1] for row in rows), 3),
        "psnr_db": round(mean(row["psnr_db"] for row in rows), 2),
        "adherence": [round(adherence(whole), 4), round(adherence(ended), 4)],
        "ends_at": {str(one): round(mean(row["ends_at"][str(one)] for row in rows), 2) for one in AMOUNTS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo.early_end", description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=3, help="held-out prompts, each made twice")
    parser.add_argument("--amount", type=float, default=0.5, help="of the early end, 0 to 1")
    parser.add_argument("--steps", type=int, default=DEMO.num_inference_steps, help="denoising steps of each clip")
    parser.add_argument("--checkpoint", type=Path, default=Settings().demo_checkpoint)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, opened_engine(Path(folder), options) as engine:
        warm_up(engine)
        judge = Judge()
        tasks = draw_tasks(options.prompts, 0)
        rows = [measure(task, options.amount, options.steps, engine, judge) for task in tasks]
    report = {"machine": machine(), "torch": torch.__version__, **summary(rows, options.amount, options.steps)}
    print(json.dumps(report, indent=1))
    if options.output:
        told = [{name: value for name, value in row.items() if name != "combination"} for row in rows]
        options.output.write_text(json.dumps({**report, "rows": told}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
