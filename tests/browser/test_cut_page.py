"""A cut of three takes in a real browser: added, joined by a dissolve, titled, undone, played and exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.support.axe import Auditor, Look
from tests.browser.support.visitor import TEST_SECONDS, WAIT_SECONDS, Visitor
from tests.browser.test_projects_page import open_project
from tests.support.requests import make_request
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.clips.naming import poster_path
from wan_pipeline.clips.poster import write_poster
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.clips.receipt import Receipt, write_receipt
from wan_pipeline.projects.cut.files import CutFiles
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.storage.database import Database

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

TAKES = 3
FRAMES = 17
PLAYED = """milliseconds => new Promise((done, failed) => {
  setTimeout(() => failed(new Error(`It stands at frame ${wanCut.frame} of ${wanCut.cut.frames}.`)), milliseconds);
  const seen = new Set();
  document.addEventListener('cut-frame', event => {
    seen.add(event.detail);
    if (event.detail === wanCut.cut.frames - 1 && !wanCut.isPlaying) done([...seen]);
  });
  wanCut.show(0);
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'l', bubbles: true}));
})"""
HEARD = "() => [...document.querySelectorAll('.cut-layer video')].some(video => !video.muted)"


@pytest.fixture
def starred_takes(workspace: Path, address: str) -> Iterator[None]:
    """Three starred clips of the project Cuts, as the worker leaves them. They lose their stars after."""
    Projects(workspace / "projects").create(Project("Cuts", "Cuts"))
    levels = np.linspace(0, 255, FRAMES * 96 * 160 * 3).reshape(FRAMES, 96, 160, 3).astype(np.uint8)
    for number in range(TAKES):
        clip, frames = workspace / "clips" / f"take-{number}.mp4", np.roll(levels, number, axis=3)
        request = make_request(prompt=f"take {number}", width=160, height=96, num_frames=FRAMES, fps=16, seed=number)
        receipt = Receipt(request, "a" * 64, Provenance(model="demo"), job=f"{number}c" * 16, project="Cuts")
        encode(frames, 16, clip, receipt.to_dict())
        write_poster(frames, poster_path(clip))
        write_receipt(receipt, clip)
    gallery = Gallery(Database.create(workspace / "studio.sqlite3"), workspace / "clips")
    gallery.rescan()
    takes = [f"{number}c" * 16 for number in range(TAKES)]
    for take in takes:
        gallery.star(take, True)
    yield
    for take in takes:
        gallery.star(take, False)


@pytest.mark.usefixtures("starred_takes")
def test_a_cut_is_made_played_and_exported(visitor: Visitor, workspace: Path) -> None:
    page = visitor.open()
    open_project(page, "Cuts")
    page.get_by_role("tab", name="Cut", exact=True).click()
    page.get_by_role("button", name="Add all in the order of the shots").click()
    pieces = page.locator(".cut-piece")
    expect(pieces).to_have_count(TAKES)

    page.get_by_role("button", name="2. take-1, 17 frames").click()
    _refuse_a_dissolve(page)
    page.get_by_label("Dissolve").fill("4")
    page.keyboard.press("Enter")
    expect(page.locator(".cut-facts")).to_contain_text("00:00:02:15")
    page.get_by_label("Title", exact=True).fill("The End")
    page.locator(".cut-inspector h3").click()
    expect(page.locator(".cut-piece").nth(1)).to_contain_text("T")
    page.keyboard.press("Alt+ArrowRight")
    expect(pieces.nth(2)).to_contain_text("take-1")
    page.keyboard.press("Control+z")
    expect(pieces.nth(1)).to_contain_text("take-1")
    auditor = Auditor([Look.LIGHT, Look.DARK, Look.PHONE])
    auditor.look(page, "cut")

    page.wait_for_function(
        "() => [...document.querySelectorAll('.cut-layer video')].every(each => each.readyState > 2)"
    )
    seen = page.evaluate(PLAYED, 1000 * WAIT_SECONDS)
    assert 0 in seen and 46 in seen and len(seen) > 15  # a machine with much else to do leaves some out
    expect(page.locator(".cut-time")).to_have_text("00:00:02:14")
    assert page.evaluate(HEARD)
    page.get_by_role("button", name="Mute (M)").click()
    assert not page.evaluate(HEARD)

    page.get_by_role("button", name="Title card").click()
    expect(pieces).to_have_count(TAKES + 1)
    expect(page.locator(".cut-title textarea")).to_have_value("Title")  # its words are in the text of its label too
    page.get_by_role("button", name="Remove from the cut").click()
    expect(pieces).to_have_count(TAKES)

    _save_two_versions(page)
    page.locator(".cut-acts").get_by_role("button", name="Export").click()
    auditor.look(page, "export of a cut", "[role=dialog]")
    with page.expect_download() as download:
        page.get_by_role("button", name="MP4", exact=True).click()
    with av.open(str(download.value.path())) as container:
        assert sum(1 for _ in container.decode(video=0)) == 47
    cut = CutFiles(workspace / "projects" / "Cuts").find("main")
    assert cut is not None and [item.dissolve for item in cut.items] == [0, 4, 0]
    assert not auditor.found, "\n".join(["", *auditor.found])


def _refuse_a_dissolve(page: Page) -> None:
    """The box shows the one that counts again."""
    page.get_by_label("Dissolve").fill("99")
    page.keyboard.press("Enter")
    expect(page.locator(".toast:visible")).to_contain_text("99")
    expect(page.get_by_label("Dissolve")).to_have_value("0")


def _save_two_versions(page: Page) -> None:
    page.get_by_role("button", name="Versions").click()
    name = page.get_by_label("Save the cut as it is")
    name.fill("for the client")
    page.keyboard.down("Enter")
    page.keyboard.down("Enter")  # as a key that is held
    page.keyboard.up("Enter")
    expect(page.locator(".cut-versions li")).to_contain_text("for the client")
    expect(name).to_have_value("")
    name.fill("for the editor")
    page.keyboard.press("Enter")
    expect(page.locator(".cut-versions li")).to_contain_text(["for the editor", "for the client"])
    page.keyboard.press("Escape")
