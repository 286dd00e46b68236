"""How a process of ours is told its settings: all of them, as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wan_pipeline.jobs.launch import options_of, settings_of, settings_parser
from wan_pipeline.settings import Settings

OTHERS = Settings(
    Path("/a b/ünter wegs"),
    Path("p"),
    Path("l"),
    Path("m"),
    Path("d"),
    checkpoint_seconds=0.0,
    memory_limit=7.2,
    plan="streamed,int8,blocks=3,chunk=10920,text=streamed",
    compiled=True,
    device="xpu",
)


def test_every_setting_is_another_here() -> None:
    assert all(getattr(OTHERS, name) != default for name, default in vars(Settings()).items())


@pytest.mark.parametrize("settings", [Settings(), OTHERS, replace(OTHERS, compiled=False, memory_limit=0.0)])
def test_settings_go_through_a_command_line(settings: Settings) -> None:
    assert settings_of(settings_parser("anything", "").parse_args(options_of(settings))) == settings
