"""What a step of `benchmarks/train.py` trains on: rows of the table, their random examples, and what is forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench
from wan_pipeline.models.memory import WAN_14B, MemoryFacts
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.memory.dataset import IMAGE_TOKENS, IMAGE_WIDTH
from wan_pipeline.trainer.memory.forecast import Work
from wan_pipeline.trainer.preparation.encode import FirstFrame, first_frame_mask
from wan_pipeline.trainer.preparation.prepare import Prepared
from wan_pipeline.trainer.recipe import Optimizer, Recipe, change, load_recipe

RANK = 32
LENGTH = 512
"""Text tokens."""
MEAN_DECAY = 0.99
"""Of the thorough recipes."""


@dataclass(frozen=True)
class Row:
    """What a step trains on, and the GiB that it may take; 0 is no cap."""

    side: int
    count: int = 1
    frames: int = 1
    cap: float = 0.0
    averages: bool = False
    """Whether the mean of the factors is kept too (EMA)."""
    first_frame_given: bool = False
    """To models with per-token timestep embeddings, which may do without."""
    optimizer: Optimizer = Optimizer.ADAMW

    def __str__(self) -> str:
        frames = f" x {self.frames}" if self.frames > 1 else ""
        notes = [""]
        notes += ["first frame given"] if self.first_frame_given else []
        notes += ["EMA"] if self.averages else []
        notes += [self.optimizer] if self.optimizer is not Optimizer.ADAMW else []
        return f"{self.count} x {self.side} px{frames}{', '.join(notes)}"


IMAGE, IMAGES, CLIP = Row(512), Row(512, 4), Row(512, 1, 33)
ROWS = (IMAGE, Row(768), IMAGES, Row(512, 1, 17), CLIP)
STREAMED = (
    replace(IMAGE, cap=5.5),
    Row(768, cap=5.7),
    replace(IMAGES, cap=7.2),
    Row(512, 1, 17, 7.2),
    replace(CLIP, cap=7.2),
)
SHORT_CLIP = Row(512, 1, 5)
"""The smallest that image to video trains on: of a still nothing would be left to learn."""


def work_of(bench: Bench, facts: MemoryFacts, row: Row) -> Work:
    """What is forecast of a row at this size, for all experts together."""
    facts = replace(bench.facts(facts), experts=facts.experts)
    scale = 32 if facts.expands_timesteps else 16
    tokens = row.count * ((row.frames - 1) // 4 + 1) * (row.side // scale) ** 2
    in_8_bits = row.optimizer is Optimizer.ADAMW_8BIT
    return Work(facts, tokens, row.count, RANK, LENGTH, row.averages, in_8_bits)


def recipe_of(row: Row) -> Recipe:
    recipe = change(load_recipe("style", WAN_14B), rank=RANK, steps=100_000)
    recipe = replace(recipe, stills=row.count, clips=row.count, held_out=0.0)
    return replace(
        recipe,
        optimizer=row.optimizer,
        average=MEAN_DECAY if row.averages else 0.0,
        first_frame_share=1.0 if row.first_frame_given else recipe.first_frame_share,
    )


def prepared_of(bench: Bench, facts: MemoryFacts, row: Row) -> Prepared:
    """A row as a dataset of one batch."""
    latents, text = examples(bench, facts, row)
    return Prepared(
        (Bucket(row.side, row.side, row.frames),) * row.count,
        tuple(latents),
        (text,) * row.count,
        text[:1],
        LENGTH,
        "",
        first_frames=tuple(_first_frame(one) for one in latents) if facts.reads_images else (),
    )


def examples(bench: Bench, facts: MemoryFacts, row: Row) -> tuple[list[Tensor], Tensor]:
    """Random latents of a row, and a text."""
    side, frames = (64, 5 if row.frames > 1 else 1) if bench.tiny else (row.side, row.frames)
    scale, channels = (16, 48) if facts.expands_timesteps else (8, 16)
    shape = (channels, (frames - 1) // 4 + 1, side // scale, side // scale)
    return [torch.randn(shape) for _ in range(row.count)], torch.randn(LENGTH, 4096)


def _first_frame(latents: Tensor) -> FirstFrame:
    """What an image-to-video model is given, with random numbers for the VAE's and the image encoder's outputs."""
    beside = torch.cat([first_frame_mask(latents), torch.randn_like(latents)])
    return FirstFrame(beside, torch.randn(IMAGE_TOKENS, IMAGE_WIDTH))
