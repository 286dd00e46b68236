"""The GPU benchmark runs whole on a CPU, on models of three layers: what needs a GPU are its numbers alone."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.gpu.cases import CASES, PROGRAM
from benchmarks.gpu.table import PASSES, ROWS, table
from tests.support.soak import soaked
from wan_pipeline.settings import REPOSITORY


@pytest.mark.parametrize(
    "case", ["rates", "streaming_14b", soaked("fused_480p"), soaked("clip_a14b_480p"), soaked("loras_compiled_14b")]
)
def test_a_case_gives_the_numbers_of_its_rows(case, tmp_path):
    result = PROGRAM.run_case(case, tiny=True, rounds=1, folder=tmp_path)
    on_gpus = ("sage",)  # SageAttention is not on a CPU
    assert all(row[2] in result for row in ROWS if row[1] == case and not any(each in row[2] for each in on_gpus))
    assert result.get("identical", True) is True
    if case == "loras_compiled_14b":
        assert result["streamed_1_graphs"] + result["resident_1_graphs"] > 0 == result["switch_graphs"]
        assert all(result[f"{name}_{key}"] for name in ("resident", "streamed") for key in ("returned", "switched"))


def test_what_seedvr_took_is_a_row_once_it_ran(tmp_path):
    result = PROGRAM.run_case("seedvr_720p", tiny=True, rounds=1, folder=tmp_path)
    assert result["identical"] is True and "SeedVR2" not in table({})
    assert "| 3B, 64x32 | 9 |" in table({"seedvr_720p": result})


def test_the_table_says_what_has_not_been_run():
    assert table({}).count("not run") == len(ROWS)
    assert {row[1] for row in (*ROWS, *PASSES)} <= CASES.keys()


def test_the_numbers_in_the_docs_are_those_that_were_measured():
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "gpu.json").read_text(encoding="utf-8"))
    assert table(results).strip() in (REPOSITORY / "docs" / "gpu.md").read_text(encoding="utf-8")


def test_24_without_an_accelerator_it_says_so_at_once(tmp_path, monkeypatch, capsys):
    """The suite computes on the CPU, by WAN_STUDIO_DEVICE."""
    monkeypatch.setattr(sys, "argv", ["gpu", "--output", str(tmp_path / "gpu.json"), "rates"])
    with pytest.raises(SystemExit) as ended:
        PROGRAM.main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("error: the cases need an accelerator")
    assert not (tmp_path / "gpu.json").exists()
