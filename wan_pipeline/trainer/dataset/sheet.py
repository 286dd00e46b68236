"""A dataset's contact sheet: each image and clip with its name, size and bucket, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.sheets.page import Tile
from wan_pipeline.clips.sheets.sheet import write_sheet
from wan_pipeline.errors import UserError
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import check_writable
from wan_pipeline.trainer.dataset.check import LEFT_OUT, Dataset, Example
from wan_pipeline.trainer.dataset.thumbnails import make_thumbnail, thumbnail_of

MAX_TILES = 120
"""Of one picture that can still be opened. 20 to 100 images are usual."""


def check_sheet(target: Path, dataset: Path) -> None:
    """Raise UserError for a file that no sheet of the dataset can be written to, StorageError if it is not writable."""
    if target.suffix.lower() not in (".png", ".pdf") or target.is_dir():
        raise UserError(f"The contact sheet {target} is not a picture; choose a name that ends in .png or .pdf.")
    if target.suffix.lower() == ".png" and dataset.resolve() in target.resolve().parents:
        raise UserError(f"The contact sheet {target} would be one of the dataset's images; write it elsewhere.")
    check_writable(target.absolute().parent)


def write_dataset_sheet(dataset: Dataset, settings: Settings, fps: int, target: Path) -> tuple[str, ...]:
    """Draw a sheet of what was checked; of a long dataset as many as one picture holds, those with problems first.

    Thumbnails that are not there yet are made. Returns a sentence about letters that no font here has. Raises
    StorageError.
    """
    problems = _problems(dataset)
    examples = {example.item.name: example for example in dataset.examples}
    left_out = {finding.name for finding in dataset.findings if finding.problem in LEFT_OUT}
    names = sorted({*examples, *left_out})
    shown = names if len(names) <= MAX_TILES else sorted(names, key=lambda name: name not in problems)[:MAX_TILES]
    tiles = []
    for name in shown:
        if name in examples:
            make_thumbnail(settings, examples[name].item, fps)
            tiles.append(_tile(examples[name], problems.get(name, ""), settings))
        else:
            tiles.append(Tile(None, name, ("left out",), problem=problems[name]))
    title = f"{dataset.folder.absolute().name}: {len(names):,} images and clips, {len(problems):,} with a remark"
    return write_sheet(tiles, title + (f"; {len(shown)} of them" if len(shown) < len(names) else ""), target)


def _problems(dataset: Dataset) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for finding in dataset.findings:
        found.setdefault(finding.name, []).append(finding.problem.value)
    return {name: ", ".join(problems) for name, problems in found.items()}


def _tile(example: Example, problem: str, settings: Settings) -> Tile:
    line = f"{example.width} x {example.height}, trained at {example.bucket}"
    return Tile(thumbnail_of(settings, example.item), example.item.name, (line,), problem=problem)
