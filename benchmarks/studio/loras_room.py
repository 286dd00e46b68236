"""Measure how long the server takes for the first page of the LoRAs room with 5,000 files; 300 ms are allowed.

    python -m benchmarks.studio.loras_room --output benchmarks/results/loras_room.json

The files are LoRAs of the demo model with small matrices, in 50 folders: what is read of them does not depend on the
size of the matrices. "Cold" is the first visit of a server: the folders are walked, of the files shown as many as a
moment allows are read and matched with the model (the others follow by themselves), and the cards are written as HTML.
Times are the processor's, so that other programs on the machine do not count.
"""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from benchmarks.studio.first_page import run
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.loras.html import grid
from wan_pipeline.ui.loras.shelf import LoraShelves, Query

ROUNDS = 7
RATED = 200
"""Files that are read for the rate."""
FOLDERS = 50
RANK = 4
TEMPLATES = Templates()


def measure(folder: Path, count: int) -> dict[str, Any]:
    settings = replace(Settings(), workspace=folder / "workspace", loras=folder / "loras")
    settings.make_folders()
    model = Studio(settings).models.find("demo")
    generate(settings.loras, count, model)
    visit(LoraShelves(Studio(settings)), model, Query())  # templates are compiled when the page is first drawn
    cold = [1000 * seconds_of(partial(visit, LoraShelves(Studio(settings)), model, Query())) for _ in range(ROUNDS)]
    studio = Studio(settings)
    shelves = LoraShelves(studio)
    rate = RATED / seconds_of(partial(read, studio, model))
    return {
        "files": count,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "first_visit_cold_ms": {"median": round(median(cold), 1), "slowest": round(max(cold), 1)},
        "later_visit_ms": timed(partial(visit, shelves, model, Query())),
        "search_ms": timed(partial(visit, shelves, model, Query(text="style 49"))),
        "folder_ms": timed(partial(visit, shelves, model, Query(folder="folder 7"))),
        "files_read_per_s": round(rate),
    }


def visit(shelves: LoraShelves, model: InstalledModel, query: Query) -> None:
    """Do what the page does when the room is opened."""
    grid(TEMPLATES, shelves.find(query, model), query, model.spec.title)


def read(studio: Studio, model: InstalledModel) -> None:
    """Read files and match them with the model, as the filter by what fits does in many looks."""
    for lora in studio.loras.all()[-RATED:]:
        studio.lora_catalog.facts(lora, model)


def timed(action: Callable[[], None]) -> dict[str, float]:
    """Time some calls, in milliseconds."""
    taken = [1000 * seconds_of(action) for _ in range(ROUNDS)]
    return {"median": round(median(taken), 1), "slowest": round(max(taken), 1)}


def seconds_of(action: Callable[[], None]) -> float:
    gc.collect()  # what was made before is not this action's
    started = time.process_time()
    action()
    return time.process_time() - started


def generate(folder: Path, count: int, model: InstalledModel) -> None:
    """Write one file, and link it under all other names: the server reads each name for itself."""
    first = folder / "folder 0" / "style 0.safetensors"
    for number in range(FOLDERS):
        (folder / f"folder {number}").mkdir(parents=True)
    save_file(adapter(model), first)
    for number in range(1, count):
        (folder / f"folder {number % FOLDERS}" / f"style {number}.safetensors").hardlink_to(first)


def adapter(model: InstalledModel) -> dict[str, np.ndarray[Any, Any]]:
    """A pair of matrices for each linear layer of the blocks."""
    rng = np.random.default_rng(1)
    layers = {
        name.removesuffix(".weight"): info.shape
        for name, info in model.tensors("transformer").items()
        if name.startswith("blocks.") and len(info.shape) == 2 and name.endswith(".weight")
    }
    return {
        f"transformer.{name}.lora_{side}.weight": rng.normal(size=shape).astype(np.float16)
        for name, (outputs, inputs) in layers.items()
        for side, shape in (("A", (RANK, inputs)), ("B", (outputs, RANK)))
    }


if __name__ == "__main__":
    run(__doc__, "files", 5_000, measure, "first_visit_cold_ms")
