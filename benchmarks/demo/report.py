"""The results of `quality` beside their targets, as JSON and as a table."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from wan_pipeline.models.files import fingerprint

Row = dict[str, Any]
ATTRIBUTES = ("color", "motion", "place", "object")
JUDGE_TARGET = 0.98
VERDICTS = {True: "met", False: "short", None: ""}


@dataclass(frozen=True)
class Measured:
    """Judged rows: clips from text, clips from an image, scenes as rendered and after the autoencoder."""

    texts: list[Row]
    images: list[Row]
    drawn: list[Row]
    restored: list[Row]
    seconds: list[float]
    """Render times of default clips with the model already loaded."""
    load: float | None
    """The system's load average during the timing, this process included."""


@dataclass(frozen=True)
class Line:
    """One row of the table; shares are in 0..1."""

    group: str
    what: str
    measured: float | None
    target: float
    unit: str = "share"
    less_is_better: bool = False

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.target if self.less_is_better else self.measured >= self.target

    def text(self, value: float | None) -> str:
        if value is None:
            return "not measured"
        return f"{value:.1%}" if self.unit == "share" else f"{value:.1f} {self.unit}"


def lines(measured: Measured) -> list[Line]:
    """Return every result that has a target."""
    targets = {"color": 0.95, "motion": 0.95, "place": 0.95, "object": 0.90}
    result = [Line("text to video", name, share(measured.texts, name), targets[name]) for name in ATTRIBUTES]
    first = [row["first_frame_psnr_db"] for row in measured.images]
    result += [
        Line("image to video", "first frame, PSNR", mean(first) if first else None, 26.0, "dB"),
        Line("image to video", "motion", share(measured.images, "motion"), 0.90),
        Line("autoencoder", "unseen scenes, PSNR", _mean_psnr(measured.restored), 32.0, "dB"),
        Line("speed", "warm clip", median(measured.seconds) if measured.seconds else None, 12.0, "s", True),
    ]
    for group, rows in (("judge, drawn", measured.drawn), ("judge, autoencoder", measured.restored)):
        result += [Line(group, name, share(rows, name), JUDGE_TARGET) for name in ATTRIBUTES]
    return result


def share(rows: list[Row], attribute: str) -> float | None:
    """Return the share of rows in which the judge sees what was asked for."""
    right = [row["asked"][attribute] == row["seen"][attribute] for row in rows]
    return sum(right) / len(right) if right else None


def by_word(rows: list[Row], attribute: str) -> dict[str, str]:
    """Return "correct/asked" for each word."""
    asked = Counter(row["asked"][attribute] for row in rows)
    right = Counter(row["asked"][attribute] for row in rows if row["asked"][attribute] == row["seen"][attribute])
    return {word: f"{right[word]}/{count}" for word, count in sorted(asked.items())}


def describe(measured: Measured, checkpoint: Path, seed: int) -> dict[str, Any]:
    """Return the whole report, ready for JSON."""
    first = [row["first_frame_psnr_db"] for row in measured.images]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "checkpoint": {"fingerprint": fingerprint(checkpoint), "weights_sha256": weights_sha256(checkpoint)},
        "machine": machine(),
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers", "numpy")},
        "counts": {name: len(getattr(measured, name)) for name in ("texts", "images", "drawn", "restored", "seconds")},
        "table": [
            {
                "group": line.group,
                "what": line.what,
                "target": line.target,
                "measured": line.measured,
                "unit": line.unit,
                "met": line.met,
            }
            for line in lines(measured)
        ],
        "by_word": {
            "text to video": {name: by_word(measured.texts, name) for name in ATTRIBUTES},
            "image to video": {"motion": by_word(measured.images, "motion")},
        },
        "first_frame_psnr_db": {"lowest": min(first), "reach_26_db": sum(value >= 26 for value in first) / len(first)}
        if first
        else {},
        "warm_clip": {"seconds": [round(value, 2) for value in measured.seconds], "load_average": measured.load},
        "clips": [_short(row) for row in measured.texts + measured.images],
    }


def table(report: dict[str, Any]) -> str:
    """Return a Markdown table of targets and measurements."""
    text = ["| | | target | measured | |", "|---|---|---|---|---|"]
    for entry in report["table"]:
        line = Line(
            entry["group"], entry["what"], entry["measured"], entry["target"], entry["unit"], entry["unit"] == "s"
        )
        sign = "at most" if line.less_is_better else "at least"
        cells = (line.group, line.what, f"{sign} {line.text(line.target)}", line.text(line.measured))
        text.append(f"| {' | '.join(cells)} | {VERDICTS[line.met]} |")
    return "\n".join(text)


def weights_sha256(checkpoint: Path) -> str:
    """Return one SHA-256 over all weight files of a checkpoint."""
    digest = hashlib.sha256()
    for path in sorted(checkpoint.rglob("*.safetensors")):
        digest.update(path.relative_to(checkpoint).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def machine() -> dict[str, Any]:
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


def _mean_psnr(rows: list[Row]) -> float | None:
    return mean(row["psnr_db"] for row in rows) if rows else None


def _short(row: Row) -> Row:
    kept = ("name", "prompt", "seed", "asked", "seen", "frames_sha256", "first_frame_psnr_db")
    return {name: row[name] for name in kept if name in row}
