"""Who may see a folder of this computer, and what is said when none can be shown."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from starlette.requests import Request

from wan_pipeline.access.callers import OWNER_HERE, Caller
from wan_pipeline.access.guard import CALLER
from wan_pipeline.access.roles import Role
from wan_pipeline.errors import UserError
from wan_pipeline.ui.common.folder import is_at_this_computer, open_folder


@pytest.mark.parametrize(
    ("caller", "is_here"),
    [(OWNER_HERE, True), (Caller(Role.OWNER), False), (Caller(Role.MAKE), False)],
)
def test_folders_open_only_for_who_sits_here(caller: Caller, is_here: bool) -> None:
    """Not for an owner who comes by a key from elsewhere: the folder would open on a desk that nobody sits at."""
    request = gr.Request(Request({"type": "http", CALLER: caller}))
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
