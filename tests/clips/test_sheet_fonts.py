"""Letters of a sheet are drawn by a font that has them; of others it is said that none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline.clips.sheets import fonts
from wan_pipeline.clips.sheets.fonts import drawable, font, letters_note


def test_plain_letters_need_no_other_font() -> None:
    assert font(20, "a red ball").getname() == font(20).getname()  # type: ignore[union-attr]
    assert drawable("a red ball, 10 %") == "a red ball, 10 %" and letters_note(["a red ball"]) == ()


def test_letters_that_no_font_has_are_told_and_not_boxes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "_folders", lambda: iter([tmp_path]))
    for cached in (fonts._fonts, fonts._path_for):
        cached.cache_clear()
    try:
        assert drawable("映画 10") == "?? 10"
        (note,) = letters_note(["映画 10", "plain"])
        assert "映" in note and "画" in note and "install one" in note
    finally:
        for cached in (fonts._fonts, fonts._path_for):
            cached.cache_clear()


def test_a_font_of_the_machine_is_taken() -> None:
    if not any(path.stem in ("DejaVuSans", "NotoSans-Regular", "arial") for path in fonts._fonts()):
        pytest.skip("this machine has none of the usual fonts")
    assert drawable("Привет") == "Привет" and letters_note(["Привет", "Ελλάδα"]) == ()
