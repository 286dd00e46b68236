"""Cuts with a clip that is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.projects.cut.test_cuts import clips, write
from wan_pipeline.cli import main
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.cut.cut import Title
from wan_pipeline.projects.cut.edits import moved, titled
from wan_pipeline.studio import Studio


@pytest.mark.soak
def test_a_clip_that_is_gone_leaves_the_cut_to_be_edited(studio: Studio, tmp_path: Path) -> None:
    one, two = clips(studio.settings, "one", "two ü")
    gone = Path(shutil.copy(one, studio.settings.clips / "gone.mp4"))
    studio.cuts.new("Film", "gone")
    studio.cuts.add("Film", "gone", [one, gone, two])
    gone.unlink()

    pieces = studio.cuts.look(studio.cuts.existing("Film", "gone")).pieces
    assert [bool(piece.problem) for piece in pieces] == [False, True, False]
    studio.cuts.add("Film", "gone", [one], dissolve=4)
    studio.cuts.change("Film", "gone", lambda cut: titled(cut, 0, Title("The End")))
    studio.cuts.change("Film", "gone", lambda cut: moved(cut, 1, 0))
    assert studio.cuts.relink("Film", "gone")[1] == []
    with pytest.raises(RequestError, match=r"gone\.mp4 is not at"):
        studio.cuts.add("Film", "gone", [gone], 2)
    with pytest.raises(RequestError, match=r"gone\.mp4 is not at"):
        write(studio, "gone", "otio", tmp_path / "film.otio")

    folders = ["--workspace", str(studio.settings.workspace)]
    assert main([*folders, "cut", "remove", "--project", "Film", "--cut", "gone", "--on", "1"]) == 0
    assert write(studio, "gone", "otio", tmp_path / "film.otio").clips == 3
