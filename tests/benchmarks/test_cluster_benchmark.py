"""The simulated cluster: its numbers are what was measured, and a thread's error ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studio import cluster
from benchmarks.studio.cluster import Simulation, _summary


def test_a_percentile_is_within_what_was_measured() -> None:
    assert _summary([0.01, 0.02, 0.05]) == {"count": 3, "median": 0.02, "p95": 0.047, "max": 0.05}
    assert _summary([0.5])["p95"] == 0.5


def test_an_error_in_a_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "FILLING_SECONDS", 2.0)
    monkeypatch.setattr(cluster, "MEASURED_SECONDS", 1.0)
    simulation = Simulation(tmp_path / "workspace", 1)
    monkeypatch.setattr(simulation.queue, "claim", lambda *_: None)
    with pytest.raises(RuntimeError, match="too few jobs"):
        simulation.run()
