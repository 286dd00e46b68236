"""The numbers of larger and smoother frames in the docs are those that were measured."""

from __future__ import annotations

import json

from benchmarks.upscale import table
from wan_pipeline.settings import REPOSITORY


def test_the_tables_are_those_of_the_results() -> None:
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "upscale.json").read_text(encoding="utf-8"))
    assert table(results).strip() in (REPOSITORY / "docs" / "handover.md").read_text(encoding="utf-8")
