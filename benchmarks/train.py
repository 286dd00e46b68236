"""Seconds and memory of a training step at the real shapes, with random weights made on the fly: one JSON, one table.

    python -m benchmarks.train --output train.json streamed_14b peft_14b  # some cases; each in a process of its own
    python -m benchmarks.train --output train.json --table train.md       # no case: only the table of what is there
    python -m benchmarks.train --tiny --output /tmp/tiny.json all  # the same code on a CPU, on models of three layers

Cases that are in the file already are not run again. A step is the studio's own, from noise to optimizer; its time is
the median of some, its memory the peak that torch's allocator had reserved, under a cap where the table names one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bench import DTYPE, Bench, to_host
from benchmarks.gpu.program import Program
from wan_pipeline.engine.device.deterministic import deterministic
from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.models.memory import WAN_1_3B, WAN_5B, WAN_14B, MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.machine import GIB
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.experts import Expert, Trainable
from wan_pipeline.trainer.factors import TARGETS, Factors
from wan_pipeline.trainer.flow import NoiseRange
from wan_pipeline.trainer.loop import Loop
from wan_pipeline.trainer.memory.forecast import Work, candidates, fitted, forecast
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.preparation.prepare import Prepared
from wan_pipeline.trainer.recipe import Recipe, change, load_recipe

RANK = 32
LENGTH = 512
"""Text tokens."""


@dataclass(frozen=True)
class Row:
    """What a step trains on, and the GiB that it may take; 0 is no cap."""

    side: int
    count: int = 1
    frames: int = 1
    cap: float = 0.0

    def __str__(self) -> str:
        return f"{self.count} x {self.side} px" + (f" x {self.frames}" if self.frames > 1 else "")


IMAGE, IMAGES, CLIP = Row(512), Row(512, 4), Row(512, 1, 33)
ROWS = (IMAGE, Row(768), IMAGES, Row(512, 1, 17), CLIP)
STREAMED = (
    replace(IMAGE, cap=5.5),
    Row(768, cap=5.7),
    replace(IMAGES, cap=7.2),
    Row(512, 1, 17, 7.2),
    replace(CLIP, cap=7.2),
)


def resident(facts: MemoryFacts, precision: Precision) -> Callable[[Bench], dict[str, Any]]:
    """All blocks on the device, activations computed again."""

    def case(bench: Bench) -> dict[str, Any]:
        transformer = bench.transformer(facts, precision)
        plan = TrainingPlan(precision, recomputes=True)
        return {str(row): measure(bench, facts, [transformer], [None], plan, row) for row in ROWS}

    return case


def streamed(facts: MemoryFacts, rows: tuple[Row, ...], experts: int = 1) -> Callable[[Bench], dict[str, Any]]:
    """int8 blocks streamed both ways, by the quickest plan that the forecast finds for the cap."""

    def case(bench: Bench) -> dict[str, Any]:
        transformers, models = [], []
        for seed in range(experts):
            transformers.append(bench.transformer(facts, Precision.INT8, seed))
            models.append(to_host(transformers[-1]))
        result = {}
        for row in rows:
            for plan in fitting_plans(bench, replace(facts, experts=experts), row):
                taken = measure(bench, facts, transformers, models, plan, row) | {"plan": asdict(plan)}
                result[str(row)] = taken
                if "error" not in taken:
                    break
        return result

    return case


def fitting_plans(bench: Bench, facts: MemoryFacts, row: Row) -> Iterator[TrainingPlan]:
    """int8 blocks, streamed, with as many on the device as the row's cap allows, and factors in fp32 if they fit; then
    smaller ones, should the forecast have been too bold.
    """
    work, limit = work_of(bench, facts, row), row.cap * GIB
    plans = [plan for plan in candidates() if plan.buffers and plan.precision is Precision.INT8]
    first = next((index for index, plan in enumerate(plans) if forecast(work, plan).bytes <= limit), len(plans) - 1)
    best = fitted(work, plans[first], limit)
    yield best
    yield from (replace(best, buffers=count) for count in (best.buffers - 3, best.buffers - 6) if count > 2)
    yield from (plan for plan in plans[first:] if plan != best)


def work_of(bench: Bench, facts: MemoryFacts, row: Row) -> Work:
    facts = replace(bench.facts(facts), experts=facts.experts)
    scale = 32 if facts.expands_timesteps else 16
    tokens = row.count * ((row.frames - 1) // 4 + 1) * (row.side // scale) ** 2
    return Work(facts, tokens, row.count, RANK, LENGTH)


def peft(bench: Bench) -> dict[str, Any]:
    """What a script of diffusers does: bf16 base, peft's layers, gradient checkpointing, autocast, AdamW in fp32."""
    from peft import LoraConfig

    transformer: Any = bench.transformer(WAN_14B, Precision.BF16)
    transformer.requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(TARGETS)))
    transformer.enable_gradient_checkpointing()
    parameters = [value for value in transformer.parameters() if value.requires_grad]
    for value in parameters:
        value.data = value.data.float()
    optimizer = torch.optim.AdamW(parameters, 1e-4)
    result = {}
    for row in ROWS:
        bench.rest()
        result[str(row)] = {
            "seconds": bench.seconds(partial(peft_step, bench, transformer, optimizer, row)),
            "gib": bench.peak(),
        }
    return result


def peft_step(bench: Bench, transformer: Any, optimizer: torch.optim.Optimizer, row: Row) -> None:
    latents, text = examples(bench, WAN_14B, row)
    clean = torch.stack(latents).to(bench.device)
    noise, sigma = torch.randn_like(clean), torch.rand(len(latents), 1, 1, 1, 1, device=bench.device)
    with torch.autocast(bench.device.type, DTYPE):
        velocity = transformer(
            hidden_states=(clean + sigma * (noise - clean)).to(DTYPE),
            timestep=sigma.flatten() * 1000,
            encoder_hidden_states=text[None].expand(len(latents), -1, -1).to(bench.device, DTYPE),
            return_dict=False,
        )[0]
    (velocity.float() - (noise - clean)).square().mean().backward()
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def equal(bench: Bench) -> dict[str, Any]:
    """Whether gradients of streamed and resident blocks are equal bit for bit, on eight of the 14B model's blocks.

    In deterministic mode: attention's backward on a GPU adds up in any order.
    """
    with deterministic(None):
        return compare_gradients(bench)


def compare_gradients(bench: Bench) -> dict[str, Any]:
    facts = replace(WAN_14B, layers=8)
    gradients = {}
    for name, buffers, on_host in (("resident", 0, False), ("streamed", 2, True), ("streamed, 4 buffers", 4, True)):
        transformer = bench.transformer(facts, Precision.INT8)
        model = to_host(transformer) if buffers else None
        plan = TrainingPlan(Precision.INT8, buffers, recomputes=True, inputs_on_host=on_host)
        loop = make_loop(bench, facts, [transformer], [model], plan, CLIP)
        expert = loop.model.experts[0]
        for pair in expert.factors.pairs.values():
            torch.nn.init.normal_(pair.up, std=0.02, generator=torch.Generator().manual_seed(1))
        with loop.model.training(plan, bench.device) as turns:
            turns.take(expert)
            noisy, text = loop._draw(expert)
            torch.autograd.backward(expert.loss(noisy, text, loop.place))
        gradients[name] = [factor.grad.cpu() for factor in expert.factors.parameters() if factor.grad is not None]
        del loop, expert, transformer, model
    first, *others = gradients.values()
    same = all(torch.equal(one, two) for other in others for one, two in zip(first, other, strict=True))
    return {"tensors": len(first), "equal": same, "largest": float(max(value.abs().max() for value in first))}


def measure(
    bench: Bench, facts: MemoryFacts, transformers: list[Any], models: list[Any], plan: TrainingPlan, row: Row
) -> dict[str, Any]:
    """Seconds and GiB of a step, and what was forecast. A row that does not fit under its cap says so."""
    told = forecast(work_of(bench, replace(facts, experts=len(transformers)), row), plan)
    facts_of_row = {"cap": row.cap, "forecast_gib": round(told.bytes / GIB, 2)}
    with capped(bench, row.cap):
        try:
            taken = _time(bench, make_loop(bench, facts, transformers, models, plan, row), plan)
        except torch.OutOfMemoryError as error:
            return {"seconds": None, "gib": bench.peak(), **facts_of_row, "error": str(error)[:300]}
    return {**taken, **facts_of_row}


def _time(bench: Bench, loop: Loop, plan: TrainingPlan) -> dict[str, Any]:
    bench.rest()
    with loop.model.training(plan, bench.device) as turns:
        return {"seconds": bench.seconds(partial(loop.do_step, turns)), "gib": bench.peak()}


def make_loop(
    bench: Bench, facts: MemoryFacts, transformers: list[Any], models: list[Any], plan: TrainingPlan, row: Row
) -> Loop:
    dtype = torch.bfloat16 if plan.small_factors else torch.float32
    recipe = recipe_of(row)
    experts = []
    for number, (transformer, model) in enumerate(zip(transformers, models, strict=True)):
        transformer.requires_grad_(False)
        generator = torch.Generator().manual_seed(number)
        factors = Factors(transformer, RANK, RANK, generator, CPU, dtype)
        fused = bench.device.type == "cuda"
        optimizer = torch.optim.AdamW(factors.parameters(), lr=1e-4, betas=(0.9, 0.99), fused=fused)
        within = NoiseRange() if len(transformers) == 1 else (NoiseRange(0.875), NoiseRange(high=0.875))[number]
        experts.append(Expert(transformer, factors, optimizer, within, streamed=model))
    latents, text = examples(bench, facts, row)
    bucket = Bucket(row.side, row.side, row.frames)
    prepared = Prepared((bucket,) * row.count, tuple(latents), (text,) * row.count, text[:1], LENGTH, "")
    generator = torch.Generator().manual_seed(5)
    place = Placement(bench.device, DTYPE)
    return Loop(Trainable(experts, facts.expands_timesteps), prepared, recipe, 5.0, plan, place, generator)


def recipe_of(row: Row) -> Recipe:
    recipe = change(load_recipe("style", WAN_14B), rank=RANK, steps=100_000)
    return replace(recipe, stills=row.count, clips=row.count, held_out=0.0)


def examples(bench: Bench, facts: MemoryFacts, row: Row) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Random latents of a row, and a text."""
    side, frames = (64, 5 if row.frames > 1 else 1) if bench.tiny else (row.side, row.frames)
    scale, channels = (16, 48) if facts.expands_timesteps else (8, 16)
    shape = (channels, (frames - 1) // 4 + 1, side // scale, side // scale)
    return [torch.randn(shape) for _ in range(row.count)], torch.randn(LENGTH, 4096)


@contextmanager
def capped(bench: Bench, gib: float) -> Iterator[None]:
    """Context manager: limits torch's allocator to this many GiB."""
    if bench.device.type != "cuda" or not gib:
        yield
        return
    bench.rest()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(gib * GIB / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


CASES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "equal": equal,
    "streamed_14b": streamed(WAN_14B, STREAMED),
    "resident_int8_14b": resident(WAN_14B, Precision.INT8),
    "resident_bf16_14b": resident(WAN_14B, Precision.BF16),
    "peft_14b": peft,
    "streamed_a14b": streamed(WAN_14B, (STREAMED[0], STREAMED[-1]), experts=2),
    "streamed_5b": streamed(WAN_5B, (STREAMED[0], STREAMED[-1])),
    "resident_5b": resident(WAN_5B, Precision.BF16),
    "resident_1.3b": resident(WAN_1_3B, Precision.BF16),
}


def table(results: dict[str, Any]) -> str:
    """Markdown: a line for each case and row."""
    lines = ["| case | row | s a step | GiB reserved | cap | forecast GiB |", "|---|---|---|---|---|---|"]
    for name, result in results.items():
        for row, values in result.items():
            if isinstance(values, dict) and "seconds" in values:
                cells = [values["seconds"], values["gib"], values.get("cap") or "", values.get("forecast_gib", "")]
                lines.append(f"| {name} | {row} | " + " | ".join(map(str, cells)) + " |")
        if "error" in result:
            lines.append(f"| {name} | {result['error'].splitlines()[-1][:120]} | | | | |")
    return "\n".join(lines) + "\n"


PROGRAM = Program("benchmarks.train", __doc__.splitlines()[0], CASES, table, rounds=5)

if __name__ == "__main__":
    PROGRAM.main()
