"""The 14B model's first blocks on one GPU and on two, with a guidance branch or half of the tokens each: one JSON.

python -m benchmarks.gpu_branches --output benchmarks/results/gpu_branches.json
python -m benchmarks.gpu_branches --tiny --output /tmp/tiny.json    # two copies on a CPU
"""

from __future__ import annotations

import argparse
import json
import platform
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.bench import DTYPE, Bench
from wan_pipeline.engine.attention.backends import set_attention
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.engine.two_devices.branches import branches
from wan_pipeline.engine.two_devices.tokens import split_tokens
from wan_pipeline.engine.two_devices.twin import Twin, copy_to
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.attention import Attention
from wan_pipeline.planning.geometry import Geometry

BLOCKS = 8
"""Of the 14B model's forty: a pass of all takes five times as long."""
GUIDANCE = 5.0
CLIP_480P, CLIP_720P = Geometry(832, 480, 81, 2), Geometry(1280, 720, 81, 2)
GUIDED = (
    ("bf16", Precision.BF16, CLIP_480P, "native"),
    ("bf16_cudnn", Precision.BF16, CLIP_480P, "_native_cudnn"),
    ("bf16_720p", Precision.BF16, CLIP_720P, "native"),
    ("int8", Precision.INT8, CLIP_480P, "native"),
)
WITHOUT_GUIDANCE = (
    ("tokens_bf16", Precision.BF16, CLIP_480P, 0),
    ("tokens_bf16_17_frames", Precision.BF16, replace(CLIP_480P, num_frames=17), 0),
    ("tokens_bf16_720p", Precision.BF16, CLIP_720P, 0),
    ("tokens_bf16_chunked_720p", Precision.BF16, CLIP_720P, 25200),
    ("tokens_int8", Precision.INT8, CLIP_480P, 0),
    ("tokens_int8_compute", Precision.INT8_COMPUTE, CLIP_480P, 0),
    ("tokens_int8_compute_720p", Precision.INT8_COMPUTE, CLIP_720P, 0),
)
"""The last is the plan's `chunk`."""


def guided_step(model: Any, given: dict[str, Any], without_prompt: torch.Tensor) -> torch.Tensor:
    """Both passes and their combination, as diffusers calls and combines them."""
    with_prompt = model(**given)[0]
    without = model(**{**given, "encoder_hidden_states": without_prompt})[0]
    combined: torch.Tensor = without + GUIDANCE * (with_prompt - without)
    return combined


def measure_guided(bench: Bench, precision: Precision, clip: Geometry, attention: str) -> dict[str, Any]:
    """Seconds of a guided step on one device and on two, and whether the bits are the same."""
    second = second_of(bench)
    model = bench.transformer(replace(WAN_14B, layers=BLOCKS), precision)
    set_attention(model, Attention.FASTEST, "native" if bench.tiny else attention)
    given = bench.inputs(clip)
    without_prompt = torch.randn(1, 512, 4096, device=bench.device, dtype=DTYPE)

    def step() -> torch.Tensor:
        made = guided_step(model, given, without_prompt)
        wait_for(second)
        return made

    one, alone = step().cpu(), bench.seconds(step)
    with branches((model,), Twin(second, (copy_to(model, second),)), without_prompt, lambda: True):
        two, paired = step().cpu(), bench.seconds(step)
    return {
        "one_seconds": alone,
        "two_seconds": paired,
        "times_as_fast": round(alone / paired, 3),
        "identical": torch.equal(one, two),
    }


def measure_tokens(bench: Bench, precision: Precision, clip: Geometry, chunk: int) -> dict[str, Any]:
    """Seconds of a pass on one device and on two with half of the tokens each, how far they differ, and peaks."""
    second = second_of(bench)
    model = bench.transformer(replace(WAN_14B, layers=BLOCKS), precision)
    set_attention(model, Attention.FASTEST, "native")
    given = bench.inputs(clip)

    def one_pass() -> torch.Tensor:
        made: torch.Tensor = model(**given)[0]
        wait_for(second)
        return made

    bench.rest()
    with chunked(model, chunk):
        weights = bench.allocated()
        one, alone, peaks = one_pass().float().cpu(), bench.seconds(one_pass), [bench.peak() - weights]
    copy = copy_to(model, second)
    bench.rest()
    with ExitStack() as stack:
        for transformer in (model, copy):
            stack.enter_context(chunked(transformer, chunk, whole_head=True))
        stack.enter_context(split_tokens((model,), bench.device, Twin(second, (copy,))))
        two, paired = one_pass().float().cpu(), bench.seconds(one_pass)
        peaks.append(bench.peak() - weights)
    return {
        "one_seconds": alone,
        "two_seconds": paired,
        "times_as_fast": round(alone / paired, 3),
        "relative_error": round(float((two - one).norm() / one.norm()), 6),
        "one_activations_gib": round(peaks[0], 2),
        "two_activations_gib": round(peaks[1], 2),
    }


def second_of(bench: Bench) -> torch.device:
    return torch.device("cuda", 1) if bench.device.type == "cuda" else bench.device


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(bench: Bench) -> dict[str, Any]:
    facts: dict[str, Any] = {name: version(name) for name in ("torch", "diffusers", "optimum-quanto")}
    facts |= {"python": platform.python_version(), "date": datetime.now(UTC).date().isoformat()}
    if bench.device.type == "cuda":
        facts["devices"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        facts["cuda"] = torch.version.cuda
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps on one GPU and on two.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.tiny, 1 if options.tiny else 3, options.output.parent)
    results: dict[str, Any] = {"machine": machine(bench), "blocks": BLOCKS}
    with torch.inference_mode():
        cases = [(name, partial(measure_guided, bench, *case)) for name, *case in GUIDED]
        cases += [(name, partial(measure_tokens, bench, *case)) for name, *case in WITHOUT_GUIDANCE]
        for name, measure in cases:
            bench.rest()
            results[name] = measure()
            print(name, results[name], flush=True)
            options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
