"""Who may see a folder of this computer, and what is said when none can be shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from wan_pipeline.errors import UserError
from wan_pipeline.ui.common.folder import is_at_this_computer, open_folder


@pytest.mark.parametrize(
    ("client", "headers", "is_here"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:7860"}, True),
        ("127.0.0.1", {"host": "localhost"}, True),
        ("::1", {"host": "[::1]:7860"}, True),
        ("192.168.1.7", {"host": "192.168.1.2:7860"}, False),
        ("192.168.1.7", {"host": "localhost:7860"}, False),
        ("127.0.0.1", {"host": "f00.gradio.live"}, False),  # a tunnel ends on this computer
        ("127.0.0.1", {"host": "evil.example:7860"}, False),
        ("127.0.0.1", {"host": "localhost:7860", "x-forwarded-for": "9.9.9.9"}, False),
        ("", {}, False),
    ],
)
def test_folders_open_only_for_who_sits_here(client: str, headers: dict[str, str], is_here: bool) -> None:
    request = SimpleNamespace(client=SimpleNamespace(host=client), headers=headers)
    assert is_at_this_computer(request) is is_here


def test_a_folder_that_cannot_be_shown_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no longer there"):
        open_folder(tmp_path / "gone.mp4")
    clip = tmp_path / "clip.mp4"
    clip.touch()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UserError, match="no desktop"):
        open_folder(clip)
