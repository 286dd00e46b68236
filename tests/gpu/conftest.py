"""Tests for an accelerator, with tolerances of their own: `make test-gpu`.

They run on the device of WAN_STUDIO_DEVICE, by default the accelerator, and also on a CPU, to try the tests themselves.
They need torch, diffusers, transformers, accelerate, optimum-quanto and pytest, but neither Gradio nor a browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported
from tests.gpu.bench import Bench
from wan_pipeline.engine.device.environment import fixed_facts
from wan_pipeline.engine.device.placement import choose_placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.settings import Settings

TABLE = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("gpu")
    settings = Settings(workspace=folder / "workspace", loras=folder / "loras", models=folder / "models")
    for path in (settings.loras, settings.models):
        path.mkdir()
    settings.make_folders()
    settings = replace(settings, checkpoint_seconds=0.0)
    table = request.config.stash.setdefault(TABLE, [])
    with Engine(settings) as engine:
        yield Bench(choose_placement(settings.device), settings, engine, table)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the machine, and what was measured as a Markdown table for docs/gpu.md."""
    if not (table := config.stash.get(TABLE, [])):
        return
    facts = fixed_facts(choose_placement(Settings().device))
    names = ("device_name", "driver", "cuda", "cudnn", "torch", "diffusers", "transformers", "python", "system")
    terminalreporter.write_sep("=", "measured")
    terminalreporter.write_line(", ".join(f"{name} {facts[name]}" for name in names if name in facts))
    terminalreporter.write_line("\n".join(["", "| measured | value |", "|---|---|", *table]))
