"""Measure the overhead of the queue: wall time per clip, against the bare diffusers pipeline in a loop.

    python -m benchmarks.studio.queue --output benchmarks/results/queue.json

The same requests are rendered three times, each time in a new process that is timed from start to exit: by a worker
from a filled queue; by the pipeline in a loop that saves each clip as MP4 with the same encoder settings; and by that
loop with the studio's CPU convolutions, which leaves the overhead of the queue alone. On a GPU the last two are equal.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported
from wan_pipeline.clips.encode import encode
from wan_pipeline.jobs.job import JobState
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.studio import Studio

LIMIT = 1.05
"""Largest allowed ratio of the queue's wall time to that of the loop with the same kernels."""


def measure(jobs: int, work: Path, presets: list[str]) -> tuple[dict[str, Times], dict[str, float]]:
    """Return the times of the three runs and the worker's mean seconds per stage."""
    settings = Settings(workspace=work / "workspace")
    with Studio(settings) as studio:
        ids = studio.submit_many(drafts(jobs, presets))
        requests = work / "requests.json"
        requests.write_text(json.dumps([studio.jobs.job(job_id).request.to_dict() for job_id in ids]), encoding="utf-8")
        times = {"queue": timed("wan_pipeline.jobs.worker", f"--workspace={settings.workspace}")}
        done = [studio.jobs.job(job_id) for job_id in ids]
    assert all(job.state is JobState.DONE for job in done), [job.error for job in done]
    for name in ("bare", "bare_same_kernels"):
        times[name] = timed("benchmarks.studio.queue", f"--loop={requests}", f"--kind={name}", f"--work={work}")
    stages = {stage: round(mean(job.seconds[stage] for job in done), 3) for stage in done[0].seconds}
    return times, stages


def drafts(jobs: int, presets: list[str]) -> list[Draft]:
    """Return held-out prompts of the demo model, each with its own seed, cycling through the presets."""
    from benchmarks.demo.quality import draw_tasks

    tasks = draw_tasks(jobs, 0)
    return [
        Draft(prompt=task.prompt, seed=task.seed, preset=presets[number % len(presets)] if presets else None)
        for number, task in enumerate(tasks)
    ]


@dataclass(frozen=True)
class Times:
    """Seconds of a process from start to exit."""

    wall: float
    cpu: float
    """CPU time of the process and of ffmpeg on all cores, which other load hardly changes. 0 on Windows."""


def timed(module: str, *arguments: str) -> Times:
    started, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=REPOSITORY, check=True, stderr=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Times(round(time.monotonic() - started, 2), round(cpu, 2))


def loop(requests: list[GenerationRequest], folder: Path, same_kernels: bool) -> None:
    """Render and save clips as a plain diffusers script does."""
    import numpy as np
    import torch
    from diffusers import WanPipeline

    from wan_pipeline.engine.device.cpu_convolution import use_onednn
    from wan_pipeline.engine.device.placement import choose_placement
    from wan_pipeline.engine.loading.schedulers import make_scheduler

    place = choose_placement(Settings().device)
    pipeline = WanPipeline.from_pretrained(
        Settings().demo_checkpoint, dtype={"default": place.dtype, "vae": torch.float32}
    )
    pipeline.to(place.device)
    pipeline.set_progress_bar_config(disable=True)
    if same_kernels and place.on_cpu:
        use_onednn(pipeline.vae)
    config = pipeline.scheduler.config
    for number, request in enumerate(requests):
        pipeline.scheduler = make_scheduler(request.scheduler, config, request.flow_shift)
        frames = pipeline(
            prompt=request.styled_prompt,
            negative_prompt=request.negative_prompt,
            width=request.width,
            height=request.height,
            num_frames=request.num_frames,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="np",
        ).frames[0]
        encode((frames * 255).round().astype(np.uint8), request.fps, folder / f"{number:03d}.mp4", None)


def report(times: dict[str, Times], stages: dict[str, float], jobs: int) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
        "jobs": jobs,
        "wall_seconds": {name: taken.wall for name, taken in times.items()},
        "wall_seconds_per_clip": {name: round(taken.wall / jobs, 3) for name, taken in times.items()},
        "cpu_seconds_per_clip": {name: round(taken.cpu / jobs, 3) for name, taken in times.items()},
        "queue_to_bare": round(times["queue"].wall / times["bare"].wall, 3),
        "queue_to_bare_same_kernels": round(times["queue"].wall / times["bare_same_kernels"].wall, 3),
        "limit": LIMIT,
        "stages_per_clip": stages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studio.queue", description="Measure the overhead of the queue."
    )
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--preset", action="append", default=[], help="repeatable; clips cycle through them (none)")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)  # the two below: this program as its own child
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        requests = [GenerationRequest.from_dict(entry) for entry in json.loads(options.loop.read_text("utf-8"))]
        loop(requests, options.work / options.kind, options.kind == "bare_same_kernels")
        return
    with tempfile.TemporaryDirectory() as work:
        result = report(*measure(options.jobs, Path(work), options.preset), options.jobs)
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    sys.exit(result["queue_to_bare_same_kernels"] > LIMIT)


if __name__ == "__main__":
    main()
