"""Whole clips through the engine, under a cap, beside their forecasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.model import write_model
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.engine.engine import Engine
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.precision import Precision
from wan_pipeline.models.spec import Mode
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.planning.machine import GIB
from wan_pipeline.planning.planner import Planner
from wan_pipeline.progress import Progress, Stage
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.settings import Settings


def whole_clip(
    model_id: str, clip: Geometry, gib: float, steps: int, guidance: float
) -> Callable[[Bench], dict[str, Any]]:
    """A clip through the engine, from weights on the disk to frames, under a cap; the forecast beside it."""

    def case(bench: Bench) -> dict[str, Any]:
        spec, folder = registry.find(model_id), bench.folder / model_id
        settings = Settings(workspace=folder / "workspace", models=folder, memory_limit=gib)
        if not (folder / model_id).is_dir():
            settings.make_folders()
            write_model(bench, settings, spec)
        bench.rest()
        request = clip_request(bench, model_id, clip, steps, guidance)
        planner = Planner(settings, LoraLibrary(settings.loras))
        forecast = planner.choose(request, spec, probe(bench.device, settings.cache).machine)
        watch = Watch(bench)
        with Engine(settings) as engine:
            rendered = engine.render(request, watch)
        measured, peak = max(watch.peaks.values()), forecast.peak_vram / GIB
        pass_seconds = min(watch.steps[1:] or watch.steps) / (2 if request.uses_guidance else 1)
        return {
            "plan": rendered.provenance.plan,
            "cap_gib": gib,
            "peak_gib": measured,
            "forecast_gib": round(peak, 2),
            "forecast_error": round(peak / measured - 1, 3) if measured else None,
            "stage_peaks_gib": watch.peaks,
            "stage_forecasts_gib": {stage: round(cost.vram / GIB, 2) for stage, cost in forecast.costs.items()},
            "seconds": {stage: round(taken, 2) for stage, taken in rendered.seconds.items()},
            "forecast_seconds": {stage: round(cost.seconds, 2) for stage, cost in forecast.costs.items()},
            "step_seconds": watch.steps,
            "pass_seconds": round(pass_seconds, 3),
            "switch_seconds": round(max(watch.steps[1:] or watch.steps) - min(watch.steps[1:] or watch.steps), 2),
            "frames": list(rendered.frames.shape),
        }

    return case


class Watch:
    """How long each step took, and the device's peak in each stage, GiB."""

    def __init__(self, bench: Bench) -> None:
        self.steps: list[float] = []
        self.peaks: dict[str, float] = {"none": 0.0}
        self._bench = bench
        self._at, self._stage = time.perf_counter(), Stage.QUEUED

    def progress(self, progress: Progress) -> None:
        self._bench.wait()
        self.peaks[self._stage.value] = self._bench.peak()
        if progress.stage is not self._stage and self._bench.device.type != "cpu":
            torch.accelerator.empty_cache()
            torch.accelerator.reset_peak_memory_stats()
        now = time.perf_counter()
        if progress.stage is Stage.DENOISING and progress.step:
            self.steps.append(round(now - self._at, 3))
        self._at, self._stage = now, progress.stage
        self.peaks[self._stage.value] = max(self.peaks.get(self._stage.value, 0.0), self._bench.peak())

    def cancelled(self) -> bool:
        return False


def clip_request(bench: Bench, model_id: str, clip: Geometry, steps: int, guidance: float) -> GenerationRequest:
    spec, size, prompt = registry.find(model_id), bench.clip(clip), "a boat on the sea"
    return GenerationRequest(
        model=model_id,
        mode=Mode.TEXT_TO_VIDEO,
        prompt=prompt,
        styled_prompt=prompt,
        negative_prompt="blurry",
        seed=1,
        width=size.width,
        height=size.height,
        num_frames=size.num_frames,
        fps=16,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_scale_2=guidance if spec.guidance_scale_2 is not None else None,
        flow_shift=3.0,
        scheduler=SchedulerName.UNIPC,
        quantization=Precision.INT8.value,
    )
