"""The GPU benchmark runs whole on a CPU, on models of three layers: what needs a GPU are its numbers alone."""

from __future__ import annotations

import pytest

from benchmarks.gpu import CASES, ROWS, run_case, table


@pytest.mark.parametrize("case", ["rates", "streaming_14b", "clip_a14b_480p"])
def test_a_case_gives_the_numbers_of_its_rows(case):
    result = run_case(case, tiny=True, rounds=1)
    assert all(row[2] in result for row in ROWS if row[1] == case)
    assert result.get("identical", True) is True


def test_the_table_says_what_has_not_been_run():
    assert table({}).count("not run") == len(ROWS)
    assert {row[1] for row in ROWS} <= CASES.keys()
