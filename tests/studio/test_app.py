"""How the app is started, and what it serves."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import app
from wan_pipeline.cli.common import settings
from wan_pipeline.errors import UserError
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.address import check_address
from wan_pipeline.ui.theme import launch_options


def test_this_computer_only_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    options = app.parse([])
    assert (options.host, options.port, options.share) == ("127.0.0.1", None, False)


def test_a_space_names_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")  # noqa: S104, as Hugging Face Spaces does
    assert app.parse([]).host == "0.0.0.0"  # noqa: S104
    assert app.parse(["--host", "127.0.0.1", "--port", "8000", "--workspace", "there"]).workspace == Path("there")


def test_how_the_device_is_used_is_a_setting() -> None:
    plain = settings(app.parse([]))
    assert (plain.memory_limit, plain.plan, plain.compiled) == (0.0, "", False)
    told = settings(app.parse(["--memory-limit", "8GB", "--plan", "streamed,int8,blocks=2", "--compiled"]))
    assert told.memory_limit == pytest.approx(7.45, abs=0.01)
    assert (told.plan, told.compiled) == ("streamed,int8,blocks=2", True)


@pytest.mark.parametrize("wrong", [["--memory-limit", "much"], ["--plan", "tiled"]])
def test_a_bad_option_is_one_sentence(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match=rf"^Wan Studio cannot start: '{wrong[1]}' is no[^\n]*$"):
        app.main(wrong)


def test_a_workspace_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(SystemExit, match=r"Wan Studio cannot start: .*file"):
        app.main(["--workspace", str(file)])


def test_a_port_in_use_is_one_sentence_and_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=rf"127\.0\.0\.1, port {port} cannot be listened on .*--port\.$"):
            app.main(["--port", str(port), "--workspace", str(tmp_path / "workspace")])
    assert not (tmp_path / "workspace").exists()
    check_address("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 99999999), ("127.0.0.1", -1), ("192.0.2.1", None), ("", 65536)]
)
def test_addresses_that_cannot_be_listened_on(host: str, port: int | None) -> None:
    with pytest.raises(UserError, match=r"cannot be listened on"):
        check_address(host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])  # noqa: S104
def test_without_a_port_any_free_one_will_do(host: str) -> None:
    family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as taken:
        taken.bind(address)
        taken.listen()
        with pytest.raises(UserError, match="cannot be listened on"):
            check_address(host, taken.getsockname()[1])
        check_address(host, None)


def test_only_clips_and_exports_are_served_and_nothing_is_sent(settings: Settings) -> None:
    with Studio(settings) as studio:
        options = launch_options(studio)
    assert options["allowed_paths"] == [str(settings.clips), str(settings.exports)]
    assert not options["run_history"]
    assert not options["enable_monitoring"]
    assert "https://" not in options["css"] + options["head"]
    assert "http://" not in options["css"] + options["head"]
