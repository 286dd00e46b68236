"""What a process gets: all settings as they were, and no secret that it does not need."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.processes.counting import MODULE, state_file
from wan_pipeline.jobs.launch import environment, launch, options_of, settings_of, settings_parser
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
    attention="native",
    device="xpu",
    devices="1,0",
    slot=1,
    more_loras=(Path("/ü, b"), Path("c:d")),
    keep_latents=False,
    enhancer="ollama",
)


def test_every_setting_is_another_here() -> None:
    assert all(getattr(OTHERS, name) != default for name, default in vars(Settings()).items())


@pytest.mark.parametrize("settings", [Settings(), OTHERS, replace(OTHERS, compiled=False, memory_limit=0.0)])
def test_settings_go_through_a_command_line(settings: Settings) -> None:
    assert settings_of(settings_parser("anything", "").parse_args(options_of(settings))) == settings


HUB = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "HF_TOKEN_PATH", "HF_OIDC_ID_TOKEN"]
OTHER = ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "OPENAI_API_KEY", "SOME_APIKEY", "DB_PASSWORD"]
NEEDED = ["HF_HOME", "HF_ENDPOINT", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TOKENIZERS_PARALLELISM", "PATH", "HOME"]


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*HUB, *OTHER):
        monkeypatch.setenv(name, "secret")
    for name in ("HF_HOME", "HF_ENDPOINT", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "")


def test_a_process_gets_no_secrets(secrets: None) -> None:
    given = environment()
    assert "secret" not in given.values() and given.keys() >= set(NEEDED)


def test_on_a_space_a_process_gets_every_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "ana/studio")
    proxies = {"HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy"}
    for name in proxies:
        monkeypatch.setenv(name, "")
    assert environment().keys() >= proxies


def test_a_process_that_uses_the_hub_gets_its_tokens_alone(secrets: None) -> None:
    given = environment(uses_hub=True)
    assert {name for name, value in given.items() if value == "secret"} == set(HUB) and given.keys() >= set(NEEDED)


@pytest.mark.parametrize("uses_hub", [False, True])
def test_so_it_is_in_the_process_itself(settings: Settings, secrets: None, uses_hub: bool) -> None:
    state_file(settings).request_stop()
    process = launch(MODULE, settings, settings.logs / "count.log", "counts", uses_hub=uses_hub)
    assert process.wait(60) == 0
    given = json.loads((settings.cache / "environment.json").read_text())
    assert {name for name, value in given.items() if value == "secret"} == (set(HUB) if uses_hub else set())
