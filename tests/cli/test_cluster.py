"""`cluster`: what it asks for, and what it says where it cannot begin."""

from __future__ import annotations

import sys

import pytest

from wan_pipeline.cli import main
from wan_pipeline.settings import Settings

ADDRESS = "127.0.0.1:6379"


def cluster(settings: Settings, *arguments: str) -> int:
    return main(["cluster", "--workspace", str(settings.workspace), *arguments])


def test_without_ray_it_says_how_to_get_it(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cluster(settings, "--address", ADDRESS, "--gpus", "0") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: Clips on other machines need Ray, which is not installed here; run: pip install -r requirements-ray.txt"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--address"),
        (("--address", "local", "--gpus", "0"), "no address of a Ray cluster"),
        (("--address", ADDRESS, "--gpus", "-1"), "no number of GPUs"),
        (("--address", ADDRESS), "use --gpus 0"),
    ],
)
def test_what_it_refuses(
    settings: Settings, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    assert cluster(settings, *arguments) == 2
    assert told in capsys.readouterr().err
