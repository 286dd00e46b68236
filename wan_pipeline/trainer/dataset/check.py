"""What is in a dataset and what is wrong with it, before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.errors import ImageError
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.storage.hashes import pixels_sha256
from wan_pipeline.trainer.dataset.buckets import Bucket, Buckets
from wan_pipeline.trainer.dataset.folder import DatasetError, Item, read_items
from wan_pipeline.trainer.dataset.marks import BLURRED, blur, difference_hash, similar_pairs
from wan_pipeline.trainer.dataset.pixels import look_at

ENLARGED = 1.5
"""A picture that has to be enlarged more than this in width and height is called tiny."""
FEW = 8
"""Images. Below, a LoRA repeats its images instead of learning from them."""


class Problem(StrEnum):
    BROKEN = "broken"
    """It cannot be decoded, and is left out."""
    STILL = "still"
    """It is left out, since the model learns from clips alone. All others are trained on."""
    TINY = "tiny"
    DUPLICATE = "duplicate"
    BLURRED = "blurred"
    NO_CAPTION = "no caption"


LEFT_OUT = (Problem.BROKEN, Problem.STILL)


@dataclass(frozen=True)
class Finding:
    """One problem of one file."""

    name: str
    problem: Problem
    message: str
    """A sentence."""


@dataclass(frozen=True)
class Example:
    """An item that can be trained on, and the bucket for it."""

    item: Item
    bucket: Bucket
    width: int
    """Pixels of the image or clip itself."""
    height: int
    is_regular: bool = False
    """Whether it is there for regularisation, and so has no trigger word and is never held out."""


@dataclass(frozen=True)
class Dataset:
    """A checked dataset."""

    folder: Path
    examples: tuple[Example, ...]
    findings: tuple[Finding, ...]
    advice: tuple[str, ...] = ()
    """About the dataset as a whole, a sentence each."""
    buckets: dict[Bucket, int] = field(default_factory=dict)
    """Examples in each."""

    @property
    def clips(self) -> int:
        return sum(not example.bucket.is_still for example in self.examples)

    def with_regularisation(self, other: Dataset) -> Dataset:
        """With the examples of another dataset behind its own, for regularisation."""
        regular = tuple(replace(example, is_regular=True) for example in other.examples)
        examples = (*self.examples, *regular)
        findings = (*self.findings, *other.findings)
        return Dataset(self.folder, examples, findings, tuple(_advice(examples)), _counted(examples))

    def to_dict(self) -> dict[str, object]:
        """As `dataset check --json` prints it."""
        return {
            "folder": str(self.folder),
            "images": len(self.examples) - self.clips,
            "clips": self.clips,
            "left_out": sum(finding.problem in LEFT_OUT for finding in self.findings),
            "buckets": [
                {"width": bucket.width, "height": bucket.height, "frames": bucket.frames, "count": count}
                for bucket, count in self.buckets.items()
            ],
            "problems": [
                {"file": finding.name, "problem": finding.problem.value, "message": finding.message}
                for finding in self.findings
            ],
            "advice": list(self.advice),
        }


def check_dataset(
    folder: Path, spec: ModelSpec, buckets: Buckets, between: Callable[[int, int], object] = lambda done, total: None
) -> Dataset:
    """Decode everything in the folder once, and point out what is broken, tiny, blurred, double or without a caption.

    `between` is called with the number of items done and of all, and may raise to stop. Raises DatasetError if nothing
    can be used.
    """
    checker = _Checker(spec, buckets)
    items = read_items(folder)
    for done, item in enumerate(items, 1):
        checker.look(item)
        between(done, len(items))
    findings = [*checker.findings, *checker.duplicates()]
    if not checker.examples:
        raise DatasetError(f"None of the {len(items)} files in {folder} can be used; the first: {findings[0].message}")
    return Dataset(
        folder,
        tuple(checker.examples),
        tuple(sorted(findings, key=lambda finding: finding.name)),
        tuple(_advice(checker.examples)),
        _counted(checker.examples),
    )


class _Checker:
    """Looks at one item after another."""

    def __init__(self, spec: ModelSpec, buckets: Buckets) -> None:
        self._spec = spec
        self._buckets = buckets
        self.examples: list[Example] = []
        self.findings: list[Finding] = []
        self._exact: dict[str, str] = {}
        self._names: list[str] = []
        self._hashes: list[NDArray[np.uint8]] = []

    def look(self, item: Item) -> None:
        if self._spec.needs_image and not item.is_clip:
            text = (
                f"{item.name} is a still: {self._spec.title} is given the first frame and learns what comes after it, "
                "so it learns from clips alone; add clips, or train on its text-to-video relative, whose LoRAs fit it."
            )
            self._find(item, Problem.STILL, text)
            return
        try:
            shown = look_at(item, self._spec.fps, self._buckets.max_frames)
        except (ImageError, OSError) as error:
            self._find(item, Problem.BROKEN, str(error))
            return
        image = shown.image
        bucket = self._buckets.of(image.width, image.height, shown.frames)
        self.examples.append(Example(item, bucket, image.width, image.height))
        if item.caption_problem:
            self._find(item, Problem.NO_CAPTION, f"{item.name} has no caption: {item.caption_problem}.")
        if image.width * ENLARGED < bucket.width or image.height * ENLARGED < bucket.height:
            self._find(
                item,
                Problem.TINY,
                f"{item.name} has {image.width} x {image.height} pixels and is trained at {bucket.width} x "
                f"{bucket.height}; choose a larger one.",
            )
        if (amount := blur(image)) > BLURRED:
            self._find(item, Problem.BLURRED, f"{item.name} looks blurred ({amount:.2f}; sharp is below {BLURRED}).")
        self._remember(item, pixels_sha256(image), difference_hash(image))

    def duplicates(self) -> list[Finding]:
        """Those that differ in a few bits of their hash from one before them. Exact ones are found at once."""
        return [
            Finding(
                self._names[index],
                Problem.DUPLICATE,
                f"{self._names[index]} is nearly the same as {self._names[other]}; keep the better one.",
            )
            for index, other in similar_pairs(self._hashes).items()
        ]

    def _remember(self, item: Item, exact: str, similar: NDArray[np.uint8]) -> None:
        first = self._exact.setdefault(exact, item.name)
        if first != item.name:
            self._find(item, Problem.DUPLICATE, f"{item.name} is the same as {first}; remove one of them.")
            return
        self._names.append(item.name)
        self._hashes.append(similar)

    def _find(self, item: Item, problem: Problem, message: str) -> None:
        self.findings.append(Finding(item.name, problem, message))


def _counted(examples: Sequence[Example]) -> dict[Bucket, int]:
    return dict(sorted(Counter(example.bucket for example in examples).items()))


def _advice(examples: Sequence[Example]) -> list[str]:
    advice = []
    own = sum(not example.is_regular for example in examples)
    if own < FEW:
        advice.append(f"{own} of 20 or more: a LoRA from so few repeats them; add images.")
    clips = sum(not example.bucket.is_still for example in examples)
    if clips == 0:
        advice.append(
            "There are only stills: trained on these alone, clips move less; add a few short clips in the same style, "
            "or let the base model make some: --regularisation-clips 8, with a --trigger word."
        )
    return advice
