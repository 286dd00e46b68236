"""The gallery as HTML: nothing typed becomes markup, differences are the settings that differ, and who sits here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.requests import make_request
from tests.ui.test_cards import NAMES, NASTY, Reader
from wan_pipeline.clips.gallery import Clip, GalleryPage, GalleryQuery
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background.verifications import Verification, VerifyState
from wan_pipeline.jobs.background.verify import Verdict
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.ui import gallery_cards, settings_cards
from wan_pipeline.ui.folder import is_at_this_computer, open_folder

CLIP = Clip(
    id="one",
    path=Path("clips/a b.mp4"),
    poster=Path("clips/a b.webp"),
    made_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    request=make_request(preset="noir"),
    project="Film",
    seconds=7.0,
    frames_sha256="f" * 64,
    starred=False,
    note="",
    is_binned=False,
)


def test_what_was_typed_is_shown_as_text() -> None:
    request = make_request(prompt=NASTY, negative_prompt=NASTY, preset=NASTY, model=NASTY, loras=(LoraChoice(NASTY),))
    nasty = replace(CLIP, id=NASTY, request=request, project=NASTY, note=NASTY, path=Path("clips") / "x.mp4")
    for html in (
        gallery_cards.grid(GalleryPage((nasty,), 1), GalleryQuery(), 0, ()),
        gallery_cards.sheet(nasty, NAMES),
        gallery_cards.toast(NASTY, undo=[NASTY]),
        settings_cards.compare(nasty, CLIP, NAMES),
    ):
        page = Reader(html)
        assert "script" not in page.tags
        assert not any(name.startswith("on") for name, _ in page.attributes)
        assert not any(name == "src" and value == "x" for name, value in page.attributes)
        assert NASTY in page.text


def test_only_settings_that_differ_are_listed() -> None:
    other = replace(CLIP, request=make_request(preset="noir", seed=7, loras=(LoraChoice("ink", 0.5),)))
    assert settings_cards.differences(CLIP, other, NAMES) == {"LoRAs": ("none", "ink 0.5"), "Seed": ("42", "7")}
    assert settings_cards.differences(CLIP, CLIP, NAMES) == {}
    led = replace(CLIP, request=replace(CLIP.request, control_video="ab" * 32, quantization="int8"))
    assert settings_cards.differences(CLIP, led, NAMES) == {
        "Weights": ("automatic", "int8"),
        "Control video": ("none", "abababababab"),
    }
    edited = replace(CLIP, request=replace(CLIP.request, styled_prompt="in another wording"))
    assert list(settings_cards.differences(CLIP, edited, NAMES)) == ["With its style"]


def test_equal_settings_are_told_apart_by_their_frames() -> None:
    assert "the same frames" in settings_cards.compare(CLIP, CLIP, NAMES)
    assert "The frames differ" in settings_cards.compare(CLIP, replace(CLIP, frames_sha256="0" * 64), NAMES)


def test_a_binned_clip_can_only_be_put_back() -> None:
    acts = {value for name, value in Reader(gallery_cards.sheet(CLIP, NAMES)).attributes if name == "data-act"}
    assert {"reuse", "vary", "frame", "share", "verify", "bin"} <= acts
    assert "folder" not in acts
    assert 'data-act="folder"' in gallery_cards.sheet(CLIP, NAMES, is_local=True)
    binned = Reader(gallery_cards.sheet(replace(CLIP, is_binned=True), NAMES))
    acts = {value for name, value in binned.attributes if name == "data-act"}
    assert acts == {"close", "previous", "next", "star", "unbin"}


def test_files_that_are_gone_are_said_to_be() -> None:
    assert "gone" in Reader(gallery_cards.sheet(CLIP, NAMES)).text
    grid = Reader(gallery_cards.grid(GalleryPage((CLIP,), 1), GalleryQuery(), 0, ()))
    assert "gone" in grid.text
    assert "img" not in grid.tags


def test_an_empty_gallery_says_why() -> None:
    for query, words in (
        (GalleryQuery(), "No clips yet"),
        (GalleryQuery(binned=True), "The bin is empty"),
        (GalleryQuery(text="elephant"), "Nothing found"),
    ):
        assert words in gallery_cards.grid(GalleryPage((), 0), query, 0, ())


def test_a_verification_says_how_it_stands() -> None:
    assert gallery_cards.verification(None) == ""
    assert "queue is idle" in gallery_cards.verification(Verification(VerifyState.WAITING))
    verdict = Verdict(False, "0", "1", 41.3, ("Torch: <2.12> then, 2.13 now.",))
    html = gallery_cards.verification(Verification(VerifyState.DONE, verdict=verdict))
    assert "Not identical: 41.3 dB. Torch: <2.12> then, 2.13 now." in Reader(html).text
    assert "warning" in html
    assert 'role="alert"' in gallery_cards.verification(Verification(VerifyState.FAILED, error="The LoRA is gone."))


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
