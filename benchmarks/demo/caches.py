"""Measure what step caches and guidance intervals save and change: held-out prompts of the demo, judged from pixels.

    python -m benchmarks.demo.caches --processes 12 --output benchmarks/results/caches.json

Every setting makes the same prompts with the same seeds; clips are compared with those that nothing was skipped in.
First one process alone times the denoising of each setting; then processes share the prompts, and begin no further one
after `--minutes`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported

# isort: split
import torch

from benchmarks.demo.quality import DEMO, Task, draw_tasks, judged, psnr, warm_up
from benchmarks.demo.report import ATTRIBUTES, machine, share
from training.judge import Judge
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.rendered import Rendered
from wan_pipeline.progress import SilentObserver, Stage
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.requests.sampling.guidance_interval import interval_text
from wan_pipeline.requests.sampling.step_cache import CacheKind
from wan_pipeline.settings import Settings

STEPS = 40
BASELINE = "off"
TIMED = 3
"""Clips of each setting whose denoising is timed."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What is skipped: changes of a draft, and their name in the table."""

    cache: CacheKind = CacheKind.OFF
    amount: float = 0.0
    interval: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        words = [] if self.cache is CacheKind.OFF else [f"{self.cache} {self.amount:g}"]
        words += [f"guidance {interval_text(self.interval)}"] if self.interval else []
        return ", ".join(words) or BASELINE


AMOUNTS = (0.25, 0.5, 0.75, 1.0)
INTERVALS = ((0.2, 1.0), (0.5, 1.0), (0.2, 0.95))
KINDS = tuple(kind for kind in CacheKind if kind is not CacheKind.OFF)
SETTINGS = (
    Setting(),
    *(Setting(kind, amount) for kind in KINDS for amount in AMOUNTS),
    *(Setting(interval=interval) for interval in INTERVALS),
    Setting(CacheKind.SEACACHE, 0.5, (0.2, 1.0)),
)


def request_of(task: Task, setting: Setting, steps: int) -> GenerationRequest:
    draft = Draft(
        prompt=task.prompt,
        seed=task.seed,
        num_inference_steps=steps,
        cache=setting.cache.value,
        cache_amount=setting.amount or None,
        guidance_interval=setting.interval,
    )
    return resolve(draft, DEMO, None, None, None)


def passes_of(request: GenerationRequest, rendered: Rendered) -> int:
    """Passes of the transformer that were computed."""
    return rendered.passes.computed if rendered.passes else steps_and_guided(request)


def steps_and_guided(request: GenerationRequest) -> int:
    return request.num_inference_steps + len(request.guided_steps)


# Judging -----------------------------------------------------------------------------------------------------------


def judge_share(options: argparse.Namespace, number: int, work: Path) -> None:
    """Make and judge this process' share of the prompts, and write a row for each clip."""
    torch.set_num_threads(1)
    tasks = draw_tasks(options.prompts, 0)[number :: options.processes]
    judge = Judge()
    with opened_engine(work / f"workspace-{number}", options) as engine, (work / f"{number}.jsonl").open("w") as file:
        warm_up(engine)
        for task in tasks:
            if time.time() > options.until:
                return
            for row in judge_task(task, engine, judge, options.steps):
                file.write(json.dumps(row) + "\n")
            file.flush()


def judge_task(task: Task, engine: Engine, judge: Judge, steps: int) -> Iterator[Row]:
    """A row for each setting."""
    reference = None
    for setting in SETTINGS:
        request = request_of(task, setting, steps)
        rendered = engine.render(request, SilentObserver())
        reference = rendered.frames if reference is None else reference
        row = {"setting": setting.name, "name": task.name, "combination": task.combination}
        row |= {"passes": passes_of(request, rendered), "psnr_db": psnr(reference, rendered.frames)}
        yield judged(row, judge.judge(rendered.frames))


def opened_engine(workspace: Path, options: argparse.Namespace) -> Engine:
    settings = Settings(workspace=workspace, demo_checkpoint=options.checkpoint, keep_latents=False)
    settings.make_folders()
    return Engine(settings)


def judge_all(options: argparse.Namespace, work: Path) -> list[Row]:
    """The rows of all processes, of prompts that every setting was made of."""
    context = multiprocessing.get_context("spawn")
    shares = [context.Process(target=judge_share, args=(options, number, work)) for number in range(options.processes)]
    for process in shares:
        process.start()
    for process in shares:
        process.join()
    rows = [json.loads(line) for path in sorted(work.glob("*.jsonl")) for line in path.read_text().splitlines()]
    if not rows:
        raise SystemExit("No clip was made; the processes' errors are above.")
    return rows


# Timing and calibrating --------------------------------------------------------------------------------------------


def time_settings(options: argparse.Namespace, work: Path) -> dict[str, float]:
    """Median seconds of denoising by setting, with nothing else at work. The first clip warms up."""
    task, seconds = draw_tasks(1, 0)[0], {}
    with opened_engine(work / "timing", options) as engine:
        for setting in SETTINGS:
            request = request_of(task, setting, options.steps)
            made = [engine.render(request, SilentObserver()) for _ in range(TIMED + 1)][1:]
            seconds[setting.name] = median(rendered.seconds[Stage.DENOISING.value] for rendered in made)
    return seconds


def calibrate(options: argparse.Namespace, work: Path) -> list[float]:
    """The demo model's magnitude ratios for MagCache, the mean over prompts and both guidance branches."""
    with opened_engine(work / "calibrating", options) as engine:
        warm_up(engine)
        requests = [request_of(task, Setting(), options.steps) for task in draw_tasks(options.prompts, 0)]
        ratios = [_ratios(engine, request) for request in requests]
    return [round(mean(step), 4) for step in zip(*ratios, strict=True)]


def _ratios(engine: Engine, request: GenerationRequest) -> list[float]:
    """Of one clip: the mean norm of what the blocks add to each token, relative to the step before."""
    assert engine._holder.loaded is not None
    blocks = engine._holder.loaded.denoiser.transformer.blocks
    given: list[torch.Tensor] = []
    added: list[torch.Tensor] = []
    first = blocks[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    last = blocks[-1].register_forward_hook(lambda _, __, output: added.append((output - given.pop()).norm(dim=-1)))
    try:
        engine.render(request, SilentObserver())
    finally:
        first.remove()
        last.remove()
    with_prompt, without = added[0::2], added[1::2]
    pairs = zip(zip(with_prompt[1:], with_prompt, strict=False), zip(without[1:], without, strict=False), strict=True)
    return [1.0, *(mean(float((now / (before + 1e-8)).mean()) for now, before in both) for both in pairs)]


# Report ------------------------------------------------------------------------------------------------------------


def summary(rows: list[Row], seconds: dict[str, float]) -> list[Row]:
    """A line for each setting."""
    whole = [row for row in rows if row["setting"] == BASELINE]
    baseline = {"passes": mean(row["passes"] for row in whole), "adherence": adherence(whole)}
    lines = []
    for name in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == name]
        passes = mean(row["passes"] for row in own)
        line: Row = {
            "setting": name,
            "clips": len(own),
            "passes": round(passes, 2),
            "fewer_passes": round(baseline["passes"] / passes, 3),
            "adherence": round(adherence(own), 4),
            "adherence_change": round(adherence(own) - baseline["adherence"], 4),
            "by_attribute": {attribute: round(share(own, attribute) or 0.0, 4) for attribute in ATTRIBUTES},
        }
        if name != BASELINE:
            line["psnr_db"] = round(mean(row["psnr_db"] for row in own), 2)
        if name in seconds:
            line |= {"denoising_s": round(seconds[name], 4), "faster": round(seconds[BASELINE] / seconds[name], 3)}
        lines.append(line)
    return lines


def adherence(rows: list[Row]) -> float:
    """The share of the attributes that the judge sees as they were asked for."""
    return mean(share(rows, attribute) or 0.0 for attribute in ATTRIBUTES)


def table(lines: list[Row]) -> str:
    names = ("setting", "clips", "passes", "fewer", "denoising faster", "adherence", "change", "PSNR, dB")
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|"
    rows = [
        f"| {line['setting']} | {line['clips']} | {line['passes']:.1f} | {line['fewer_passes']:.2f}x "
        f"| {line.get('faster', 0.0):.2f}x | {line['adherence']:.1%} | {100 * line['adherence_change']:+.1f} "
        f"| {line.get('psnr_db', '')} |"
        for line in lines
    ]
    return "\n".join([head, *rows])


def run(options: argparse.Namespace, work: Path) -> Row:
    seconds = time_settings(options, work) if options.timed else {}
    rows = judge_all(options, work)
    lines = summary(rows, seconds)
    print(table(lines))
    return {"steps": options.steps, "machine": machine(), "torch": torch.__version__, "settings": lines}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo.caches", description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=200, help="held-out prompts, each made with every setting")
    parser.add_argument("--steps", type=int, default=STEPS, help="denoising steps of each clip")
    parser.add_argument("--processes", type=int, default=1, help="processes that share the device")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further prompt after this time")
    parser.add_argument("--timed", action=argparse.BooleanOptionalAction, default=True, help="time each setting alone")
    parser.add_argument("--calibrate", action="store_true", help="print the demo model's magnitude ratios, and no more")
    parser.add_argument("--checkpoint", type=Path, default=Settings().demo_checkpoint)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    options.until = time.time() + 60 * options.minutes
    with TemporaryDirectory() as folder:
        report = {"ratios": calibrate(options, Path(folder))} if options.calibrate else run(options, Path(folder))
    if options.calibrate:
        print(report["ratios"])
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
