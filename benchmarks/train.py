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
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bench import DTYPE, Bench, to_host
from benchmarks.gpu.program import Program
from benchmarks.train_rows import (
    CLIP,
    RANK,
    ROWS,
    SHORT_CLIP,
    STREAMED,
    Row,
    examples,
    prepared_of,
    recipe_of,
    work_of,
)
from wan_pipeline.engine.device.deterministic import deterministic
from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.models.memory import WAN_1_3B, WAN_5B, WAN_14B, MemoryFacts
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.machine import GIB
from wan_pipeline.trainer.average import Average
from wan_pipeline.trainer.experts import Expert, Trainable
from wan_pipeline.trainer.factors import TARGETS, Factors
from wan_pipeline.trainer.flow import NoiseRange
from wan_pipeline.trainer.loop import Loop
from wan_pipeline.trainer.memory.forecast import candidates, fitted, forecast
from wan_pipeline.trainer.memory.plan import TrainingPlan
from wan_pipeline.trainer.optimizers import make_optimizer
from wan_pipeline.trainer.recipe import Optimizer

I2V_14B = replace(WAN_14B, reads_images=True)
"""Wan 2.1 image to video."""


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
    machine = probe(bench.device, bench.folder).machine
    told = forecast(work_of(bench, replace(facts, experts=len(transformers)), row), plan, machine)
    forecasts = {"forecast_gib": round(told.bytes / GIB, 2), "forecast_seconds": round(told.step_seconds, 4)}
    facts_of_row = {"cap": row.cap, **forecasts}
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
        optimizer = make_optimizer(factors.parameters(), recipe, bench.device)
        within = NoiseRange() if len(transformers) == 1 else (NoiseRange(0.875), NoiseRange(high=0.875))[number]
        average = Average(factors.parameters(), recipe.average) if recipe.average else None
        experts.append(Expert(transformer, factors, optimizer, within, streamed=model, average=average))
    generator = torch.Generator().manual_seed(5)
    place = Placement(bench.device, DTYPE)
    model, prepared = Trainable(experts, facts.expands_timesteps), prepared_of(bench, facts, row)
    return Loop(model, prepared, recipe, 5.0, plan, place, generator)


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
    "i2v_14b": streamed(I2V_14B, (replace(SHORT_CLIP, cap=5.5), STREAMED[-1])),
    "ema_14b": streamed(WAN_14B, (replace(STREAMED[-1], averages=True),)),
    "adamw8bit_14b": streamed(WAN_14B, (replace(STREAMED[-1], optimizer=Optimizer.ADAMW_8BIT),)),
    "given_5b": streamed(WAN_5B, (replace(STREAMED[-1], first_frame_given=True),)),
    "streamed_5b": streamed(WAN_5B, (STREAMED[0], STREAMED[-1])),
    "resident_5b": resident(WAN_5B, Precision.BF16),
    "resident_1.3b": resident(WAN_1_3B, Precision.BF16),
}


HEAD = ("case", "row", "s a step", "of forecast", "GiB reserved", "of forecast", "cap")


def table(results: dict[str, Any]) -> str:
    """Markdown: a line for each case and row, with seconds and GiB as they are and as shares of what was forecast."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for name, result in results.items():
        for row, values in result.items():
            if isinstance(values, dict) and "seconds" in values:
                cells = [values["seconds"], share(values, "seconds"), values["gib"], share(values, "gib")]
                lines.append(f"| {name} | {row} | " + " | ".join(map(str, [*cells, values.get("cap") or ""])) + " |")
        if "error" in result:
            lines.append(f"| {name} | {result['error'].splitlines()[-1][:120]} |" + " |" * (len(HEAD) - 2))
    return "\n".join([*lines, "", _check(results)]) + "\n"


def _check(results: dict[str, Any]) -> str:
    """Says which rows were not forecast within 10 %."""
    wrong = [
        f"{name} {row} ({what} {share(values, key)})"
        for name, result in results.items()
        for row, values in result.items()
        for key, what in (("seconds", "time"), ("gib", "memory"))
        if isinstance(values, dict) and share(values, key) and not 0.9 <= float(share(values, key)) <= 1.1
    ]
    return f"Not within 10 % of the forecast: {'; '.join(wrong) or 'none'}."


def share(values: dict[str, Any], name: str) -> str:
    """What was taken as a share of its forecast; empty where one of them is missing."""
    taken, told = values.get(name), values.get(f"forecast_{name}")
    return f"{taken / told:.2f}" if taken and told else ""


PROGRAM = Program("benchmarks.train", __doc__.splitlines()[0], CASES, table, rounds=5)

if __name__ == "__main__":
    PROGRAM.main()
