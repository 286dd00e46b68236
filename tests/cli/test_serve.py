"""`serve`: what is said before the page is opened. The page itself is opened by the browser tests."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.commands import wan
from wan_pipeline.cli import main


def test_a_port_in_use_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = wan("serve", "--port", str(port), "--workspace", tmp_path / "workspace")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"error: 127.0.0.1, port {port} cannot be listened on" in result.stderr
    assert not (tmp_path / "workspace").exists()


def test_the_options_of_app_py_and_the_folders(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    for option in ("--host", "--port", "--share", "--memory-limit", "--plan", "--compiled", "--models-folder"):
        assert option in shown
