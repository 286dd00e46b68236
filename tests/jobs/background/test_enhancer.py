"""Prompts are made richer without torch in this process."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.commands import MODEL, make_folders, wan
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background.enhancer import device_now
from wan_pipeline.models.registry import find
from wan_pipeline.models.spec import Mode
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks, is_held
from wan_pipeline.studio import Studio


def test_models_of_many_words_need_an_instruction_model(studio: Studio) -> None:
    with pytest.raises(UserError, match="WAN_STUDIO_ENHANCER"):
        studio.enhancer.enhance("a ball", find("wan2.1-t2v-1.3b"), Mode.TEXT_TO_VIDEO, 1)
    made = studio.enhancer.enhance("a red ball", find("demo"), Mode.TEXT_TO_VIDEO, 1)
    assert made.by == "grammar" and "red ball" in made.prompt


@pytest.mark.soak
def test_the_command_line_and_a_clip(tmp_path: Path, tiny_demo: Path) -> None:
    folders = make_folders(tmp_path, tiny_demo)
    told = wan(*folders, "prompt", "enhance", "a red ball", "--seed", "4", "--json")
    facts = json.loads(told.stdout)
    assert (facts["by"], facts["model"], facts["seed"], facts["prompt"]) == ("grammar", "demo", 4, "a red ball")
    size = ["--width", "160", "--height", "160", "--frames", "5", "--steps", "1"]
    made = wan(*folders, "generate", "--enhance", "--prompt", "a red ball", "--seed", "4", *size, "--json")
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout.splitlines()[-1])
    assert (report["request"]["prompt"], report["enhanced_from"]) == (facts["enhanced"], "a red ball")
    refused = wan(*folders, "prompt", "enhance", "a red ball", "--model", MODEL)
    assert refused.returncode == 2 and "instruction model" in refused.stderr


def test_beside_a_clip_it_is_written_on_the_cpu(settings: Settings) -> None:
    device, wanted = WorkspaceLocks(settings.workspace).device(), replace(settings, device="cuda")
    with ExitStack() as held:
        assert device_now(wanted, held) == "cuda" and is_held(device)
    with device, ExitStack() as held:
        assert device_now(wanted, held) == "cpu"


@pytest.mark.soak
def test_the_instruction_model_runs_in_a_process_of_its_own(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no model on this machine"):
        studio.enhancer.enhance("a ball", find("wan2.1-t2v-1.3b"), Mode.TEXT_TO_VIDEO, 1, str(tmp_path))
