"""How the app is started, and what it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

import app
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.theme import launch_options


def test_this_computer_only_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    options = app.parse([])
    assert (options.host, options.port, options.share) == ("127.0.0.1", None, False)


def test_a_space_names_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")  # noqa: S104, as Hugging Face Spaces does
    assert app.parse([]).host == "0.0.0.0"  # noqa: S104
    assert app.parse(["--host", "127.0.0.1", "--port", "8000", "--workspace", "there"]).workspace == Path("there")


def test_only_clips_and_previews_are_served_and_nothing_is_sent(settings: Settings) -> None:
    with Studio(settings) as studio:
        options = launch_options(studio)
    assert options["allowed_paths"] == [str(settings.clips), str(settings.previews)]
    assert not options["run_history"]
    assert not options["enable_monitoring"]
    assert "https://" not in options["css"] + options["head"]
    assert "http://" not in options["css"] + options["head"]
