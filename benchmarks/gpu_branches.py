"""Guided steps of the 14B model's first blocks on one GPU and on two, a guidance branch each: one JSON.

python -m benchmarks.gpu_branches --output benchmarks/results/gpu_branches.json
python -m benchmarks.gpu_branches --tiny --output /tmp/tiny.json    # two copies on a CPU
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.bench import DTYPE, Bench
from wan_pipeline.engine.attention.backends import set_attention
from wan_pipeline.engine.branches import Twin, branches, copy_to
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.attention import Attention
from wan_pipeline.planning.geometry import Geometry

BLOCKS = 8
"""Of the 14B model's forty: a pass of all takes five times as long."""
GUIDANCE = 5.0
CASES = (
    ("bf16", Precision.BF16, Geometry(832, 480, 81, 2), "native"),
    ("bf16_cudnn", Precision.BF16, Geometry(832, 480, 81, 2), "_native_cudnn"),
    ("bf16_720p", Precision.BF16, Geometry(1280, 720, 81, 2), "native"),
    ("int8", Precision.INT8, Geometry(832, 480, 81, 2), "native"),
)


def guided_step(model: Any, given: dict[str, Any], without_prompt: torch.Tensor) -> torch.Tensor:
    """Both passes and their combination, as diffusers calls and combines them."""
    with_prompt = model(**given)[0]
    without = model(**{**given, "encoder_hidden_states": without_prompt})[0]
    combined: torch.Tensor = without + GUIDANCE * (with_prompt - without)
    return combined


def measure(bench: Bench, precision: Precision, clip: Geometry, attention: str) -> dict[str, Any]:
    """Seconds of a guided step on one device and on two, and whether the bits are the same."""
    second = torch.device("cuda", 1) if bench.device.type == "cuda" else bench.device
    model = bench.transformer(replace(WAN_14B, layers=BLOCKS), precision)
    set_attention(model, Attention.FASTEST, "native" if bench.tiny else attention)
    given = bench.inputs(clip)
    without_prompt = torch.randn(1, 512, 4096, device=bench.device, dtype=DTYPE)

    def step() -> torch.Tensor:
        made = guided_step(model, given, without_prompt)
        if second != bench.device:
            torch.cuda.synchronize(second)
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


def machine(bench: Bench) -> dict[str, Any]:
    facts: dict[str, Any] = {name: version(name) for name in ("torch", "diffusers", "optimum-quanto")}
    facts |= {"python": platform.python_version(), "date": datetime.now(UTC).date().isoformat()}
    if bench.device.type == "cuda":
        facts["devices"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        facts["cuda"] = torch.version.cuda
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description="Guidance on one GPU and on two.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.tiny, 1 if options.tiny else 3, options.output.parent)
    results: dict[str, Any] = {"machine": machine(bench), "blocks": BLOCKS}
    with torch.inference_mode():
        for name, precision, clip, attention in CASES:
            results[name] = measure(bench, precision, clip, attention)
            print(name, results[name], flush=True)
            options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            bench.rest()


if __name__ == "__main__":
    main()
