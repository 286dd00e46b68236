"""Measure how long the server takes for the first page of a gallery of 10,000 clips; 300 ms are allowed.

    python -m benchmarks.studio.gallery --output benchmarks/results/gallery.json

The clips are generated in a temporary folder: real receipts, and tiny files in place of MP4s and posters, whose content
the server does not read. A visit includes the comparison of folder and table, the facets, the rows and their HTML.
"""

from __future__ import annotations

import json
import platform
import random
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.demo.request import demo_request
from benchmarks.studio.first_page import run
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.clips.naming import clip_name
from wan_pipeline.requests.request import GenerationRequest, LoraChoice
from wan_pipeline.storage.database import Database
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.gallery.html import PAGE_SIZE, grid

ROUNDS = 15
WORDS = (
    "red",
    "blue",
    "quiet",
    "lonely",
    "golden",
    "boat",
    "star",
    "rocket",
    "fish",
    "spins",
    "leaps",
    "over",
    "sea",
    "sky",
)
TEMPLATES = Templates()


def measure(folder: Path, count: int) -> dict[str, Any]:
    clips = folder / "clips"
    clips.mkdir()
    generate(clips, count, random.Random(20261122))
    gallery = Gallery(Database.create(folder / "studio.sqlite3"), clips)
    started = time.perf_counter()
    gallery.rescan()
    listed = time.perf_counter() - started
    return {
        "clips": count,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}",
        "listing_all_receipts_s": round(listed, 2),
        "first_visit_ms": timed(lambda: visit(gallery, GalleryQuery(), 0)),
        "last_page_ms": timed(lambda: page(gallery, GalleryQuery(), count - PAGE_SIZE)),
        "search_ms": timed(lambda: page(gallery, GalleryQuery(text="lonely rocket sky"), 0)),
        "search_without_result_ms": timed(lambda: page(gallery, GalleryQuery(text="elephant"), 0)),
        "filters_ms": timed(lambda: page(gallery, GalleryQuery(project="Film 3", preset="noir", lora="ink wash"), 0)),
    }


def visit(gallery: Gallery, query: GalleryQuery, offset: int) -> None:
    """Do what the page does when the gallery is opened."""
    gallery.rescan()
    gallery.facets()
    page(gallery, query, offset)


def page(gallery: Gallery, query: GalleryQuery, offset: int) -> None:
    grid(TEMPLATES, gallery.page(query, offset, PAGE_SIZE), query, offset, ())


def timed(action: Callable[[], None]) -> dict[str, float]:
    """Time ROUNDS calls, in milliseconds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    return {"median": round(median(taken), 1), "slowest": round(max(taken), 1)}


def generate(clips: Path, count: int, rng: random.Random) -> None:
    """Write the three files of each clip, dated some minutes apart."""
    made_at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        made_at += timedelta(minutes=rng.randint(1, 40))
        request = some_request(rng)
        clip = clips / clip_name(request, made_at, f"{number:08x}")
        receipt = {
            "receipt": 1,
            "job": f"{number:032x}",
            "project": rng.choice(["", *(f"Film {film}" for film in range(8))]),
            "made_at": made_at.isoformat(timespec="seconds"),
            "request": request.to_dict(),
            "frames_sha256": f"{rng.getrandbits(256):064x}",
            "seconds": {"denoising": 9.5, "decoding": 1.25},
            "warnings": [],
        }
        clip.write_bytes(b"mp4")
        clip.with_suffix(".webp").write_bytes(b"webp")
        clip.with_suffix(".json").write_text(json.dumps(receipt), encoding="utf-8")


def some_request(rng: random.Random) -> GenerationRequest:
    prompt = " ".join(rng.choices(WORDS, k=rng.randint(6, 60)))
    return demo_request(
        model=rng.choice(["demo", "wan2.2-ti2v-5b"]),
        prompt=prompt,
        styled_prompt=prompt,
        seed=rng.randint(0, 2**32 - 1),
        num_inference_steps=16,
        preset=rng.choice([None, "noir", "pastel", "vintage"]),
        loras=tuple(LoraChoice(name) for name in rng.sample(["ink wash", "grain", "soft"], rng.randint(0, 2))),
    )


if __name__ == "__main__":
    run(__doc__, "clips", 10_000, measure, "first_visit_ms")
