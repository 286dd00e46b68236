"""A draft in a cut gets its final, both really made, and the cut takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.projects.test_shots import FILM, add, make
from tests.support.films import with_profiles
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.progress import SilentObserver
from wan_pipeline.projects.cut.cut import Title
from wan_pipeline.projects.cut.edits import titled, with_card
from wan_pipeline.projects.cut.orders import CutFormat, CutOrder
from wan_pipeline.projects.shots.shot import NewShot
from wan_pipeline.projects.shots.store import take_of
from wan_pipeline.studio import Studio

DRAFTED = with_profiles(FILM, draft_height=160, final_steps=2)


@pytest.fixture
def film(studio: Studio) -> Studio:
    studio.projects.create(DRAFTED)
    return studio


@pytest.mark.soak
def test_a_cut_takes_the_real_final_of_a_real_draft(film: Studio, tmp_path: Path) -> None:
    (shot,) = add(film, NewShot("010", "1", "a red ball"))
    make(film, shot)
    film.shots.pick([take_of(film.shots.existing("010"), 1)])
    (draft,) = film.cuts.picked("Film")
    film.cuts.new("Film")
    film.cuts.add("Film", "main", [draft], 1, 4)
    before = film.cuts.change("Film", "main", lambda cut: with_card(titled(cut, 0, Title("One")), 1, "The End", 8))
    assert film.cuts.relinks(before) == []

    film.takes.queue(film.finals.of(film.finals.picked("Film")))
    assert film.cuts.relinks(before) == [], "its final is only queued"
    Worker(film.settings).run()
    (final,) = film.cuts.picked("Film")
    assert final != draft and load_receipt(final).request.num_inference_steps == 2
    cut, (taken,) = film.cuts.relink("Film")
    assert (taken.place, taken.note) == (1, "")
    assert film.cuts.existing("Film") == cut
    assert cut.items == (replace(before.items[0], clip=taken.final), before.items[1])
    assert film.settings.clips / taken.final == final
    assert [version.cut for version in film.cuts.versions("Film")] == [before]
    assert film.cuts.relinks(cut) == [], "a final has none itself"

    exported = film.cuts.export("Film", "main", CutOrder(CutFormat.OTIO, tmp_path / "film.otio"), SilentObserver())
    assert exported.media == (final,) and exported.frames == 11
