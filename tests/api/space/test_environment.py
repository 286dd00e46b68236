"""What the Hub says by environment variables, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.space.conftest import CLIENT, ENVIRONMENT, HOST
from tests.support.processes.counting import MODULE, state_file
from wan_pipeline import settings as module
from wan_pipeline.access.callers import Request, client_address
from wan_pipeline.access.visitors import CAPS
from wan_pipeline.api.space.environment import CAPS_VARIABLE, space_of
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.launch import environment, launch
from wan_pipeline.settings import Settings, default_workspace


def test_elsewhere_there_is_no_space() -> None:
    assert space_of({"HOME": "/root", "SPACE_HOST": HOST}) is None


def test_a_space_and_its_owner() -> None:
    space = space_of({**ENVIRONMENT, "SPACE_HOST": f"{HOST},studio.example"})
    assert space is not None
    assert (space.namespace, space.address, space.oauth, space.on_zero_gpu) == ("ana", f"https://{HOST}", None, False)
    assert space.rules(["more.example"]).host_names == {HOST, "studio.example", "more.example"}
    by_id = space_of({"SPACE_ID": "bo/films", "SPACES_ZERO_GPU": "true"})
    assert by_id is not None
    assert (by_id.namespace, by_id.address, by_id.on_zero_gpu) == ("bo", None, True)


def test_the_oauth_app_is_there_as_a_whole_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider, expected in (("https://huggingface.co", True), ("", False)):
        space = space_of({**ENVIRONMENT, **CLIENT, "OPENID_PROVIDER_URL": provider})
        assert space is not None
        assert (space.oauth is not None) is expected


def test_caps_of_visitors_by_a_variable() -> None:
    space = space_of({**ENVIRONMENT, CAPS_VARIABLE: "seconds=3, queue=5"})
    assert space is not None
    assert (space.caps.max_seconds, space.caps.max_queue, space.caps.max_steps) == (3.0, 5, CAPS.max_steps)
    assert isinstance(space.caps.max_seconds, float)


@pytest.mark.parametrize("text", ["minuts=3", "seconds", "seconds=-1", "seconds=0", "steps=1e9", "steps=9999999999"])
def test_caps_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UserError, match=f"{CAPS_VARIABLE} has"):
        space_of({**ENVIRONMENT, CAPS_VARIABLE: text})


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("1.2.3.4, 8.8.8.8, 10.0.0.3", "8.8.8.8"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("", "10.1.1.1"),
        ("unknown, 192.168.0.1", "10.1.1.1"),
    ],
)
def test_who_sent_a_request_through_the_proxy(forwarded: str, address: str) -> None:
    assert client_address(Request("10.1.1.1", "GET", "http", {"x-forwarded-for": forwarded})) == address


def test_where_the_workspace_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WAN_STUDIO_WORKSPACE", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert default_workspace() == module._HOME / "workspace"
    monkeypatch.setenv("SPACE_ID", "ana/studio")
    monkeypatch.setattr(module, "SPACE_STORAGE", tmp_path / "none")
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    assert default_workspace() == tmp_path / "wan-studio"
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(module, "SPACE_STORAGE", tmp_path / "data")
    assert default_workspace() == tmp_path / "data" / "wan-studio"
    monkeypatch.setenv("WAN_STUDIO_WORKSPACE", str(tmp_path / "bucket"))
    assert Settings().workspace == tmp_path / "bucket"


SECRETS = ("HF_TOKEN", "OAUTH_CLIENT_SECRET", "OAUTH_CLIENT_ID", "WAN_STUDIO_PASSWORD", "MY_DATABASE", "WEBHOOK", "DSN")
"""The owner of a Space names its secrets as they like."""
NEEDED = ("HF_HOME", "WAN_STUDIO_DEVICE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "SPACE_ID")


def test_no_secret_of_a_space_reaches_a_worker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    for name in NEEDED:
        monkeypatch.setenv(name, "cpu" if name == "WAN_STUDIO_DEVICE" else "1" if name == "OMP_NUM_THREADS" else "")
    monkeypatch.setenv("SPACE_ID", "ana/studio")
    assert environment().keys() >= {*NEEDED, "PATH", "HOME"}
    state_file(settings).request_stop()
    assert launch(MODULE, settings, settings.logs / "count.log", "counts").wait(60) == 0
    given = json.loads((settings.cache / "environment.json").read_text())
    assert "secret" not in given.values()
