"""The numbers of LoRA files in the docs are those that were measured."""

from __future__ import annotations

import json

from benchmarks.lora import table
from wan_pipeline.settings import REPOSITORY


def test_the_table_is_that_of_the_results() -> None:
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "lora.json").read_text(encoding="utf-8"))
    assert table(results).strip() in (REPOSITORY / "docs" / "loras.md").read_text(encoding="utf-8")
    assert {file["here"] for file in results["files"]} == {"whole"}
