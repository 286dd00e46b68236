"""A peer's pass is timed beside the stock one, on small blocks; our numbers on the page are measured ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu.bench import Bench
from benchmarks.peers import STOCK, measure
from wan_pipeline.settings import REPOSITORY

PEER = """
def build(shape, given):
    calls = []
    assert (shape.layers, shape.width) == (3, 48)
    assert given["hidden_states"].shape[-1] % 4 == 0
    return {"bf16": lambda: calls.append(given["timestep"].item())}
"""


def test_a_peer_is_timed_beside_the_stock_pass(tmp_path: Path) -> None:
    (tmp_path / "peer.py").write_text(PEER)
    report = measure(Bench(True, 1, tmp_path), "480p", {"other": tmp_path / "peer.py"})
    assert report["blocks"] == 3 and list(report["passes"]) == [STOCK, "other bf16"]
    assert report["passes"][STOCK]["ratio"] == 1.0 > report["passes"]["other bf16"]["ratio"]


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ("the same, compiled", "bf16_compiled_ratio"),
        ("bf16, SageAttention 2, compiled", "bf16_sage_compiled_ratio"),
        ("fp8, SageAttention 2, compiled", "fp8-compute_sage_compiled_ratio"),
        ("int8, SageAttention 2, eager", "int8-compute_sage_ratio"),
        ("int8, SageAttention 2, compiled", "int8-compute_sage_compiled_ratio"),
    ],
)
def test_our_numbers_on_the_page_are_those_that_were_measured(row: str, key: str) -> None:
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "gpu.json").read_text(encoding="utf-8"))
    page = (REPOSITORY / "benchmarks" / "peers.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith(f"| {row} |"))
    ours = [cell.strip(" *") for cell in line.split("|")[-3:-1]]
    assert [float(value) for value in ours] == [results[f"eight_bits_{size}"][key] for size in ("480p", "720p")]
