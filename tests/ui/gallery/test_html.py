"""The HTML of the Gallery: what can be done with a clip, what is missing, and that typed text stays text."""

from __future__ import annotations

from dataclasses import replace

from tests.support.pages import NAMES, NASTY, TEMPLATES, Reader, assert_harmless
from tests.support.requests import make_request
from tests.ui.gallery.clips import CLIP
from wan_pipeline.clips.gallery import GalleryPage, GalleryQuery
from wan_pipeline.jobs.background.verifications import Verification, VerifyState
from wan_pipeline.jobs.background.verify import Verdict
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.ui.common.messages import toast
from wan_pipeline.ui.common.parts.reports import verification_report
from wan_pipeline.ui.gallery import html


def test_what_was_typed_is_shown_as_text() -> None:
    request = make_request(prompt=NASTY, negative_prompt=NASTY, preset=NASTY, model=NASTY, loras=(LoraChoice(NASTY),))
    nasty = replace(CLIP, id=NASTY, request=request, project=NASTY, note=NASTY)
    assert_harmless(html.grid(TEMPLATES, GalleryPage((nasty,), 1), GalleryQuery(), 0, ()))
    assert_harmless(html.sheet(TEMPLATES, NAMES, nasty))
    assert_harmless(html.compare(TEMPLATES, NAMES, [nasty, CLIP]))
    assert_harmless(toast(TEMPLATES, NASTY, undo=[NASTY]))


def test_clips_are_counted() -> None:
    for total, text in ((0, "0 clips"), (1, "1 clip"), (5000, "5,000 clips")):
        assert Reader(html.count(TEMPLATES, total)).text == text


def test_equal_settings_are_told_apart_by_their_frames() -> None:
    assert "the same frames" in html.compare(TEMPLATES, NAMES, [CLIP, CLIP])
    assert "The frames differ" in html.compare(TEMPLATES, NAMES, [CLIP, replace(CLIP, frames_sha256="0" * 64)])


def test_a_binned_clip_can_only_be_put_back() -> None:
    acts = Reader(html.sheet(TEMPLATES, NAMES, CLIP)).acts
    assert {"reuse", "vary", "frame", "share", "verify", "bin"} <= acts
    assert "folder" not in acts
    assert "folder" in Reader(html.sheet(TEMPLATES, NAMES, CLIP, is_local=True)).acts
    binned = Reader(html.sheet(TEMPLATES, NAMES, replace(CLIP, is_binned=True)))
    assert binned.acts == {"close", "previous", "next", "star", "unbin"}


def test_files_that_are_gone_are_said_to_be() -> None:
    assert "gone" in Reader(html.sheet(TEMPLATES, NAMES, CLIP)).text
    grid = Reader(html.grid(TEMPLATES, GalleryPage((CLIP,), 1), GalleryQuery(), 0, ()))
    assert "gone" in grid.text
    assert "img" not in grid.tags


def test_an_empty_gallery_says_why() -> None:
    for query, words in (
        (GalleryQuery(), "No clips yet"),
        (GalleryQuery(binned=True), "The bin is empty"),
        (GalleryQuery(text="elephant"), "Nothing found"),
        (GalleryQuery(text="elephant", binned=True), "Nothing found"),
    ):
        assert words in html.grid(TEMPLATES, GalleryPage((), 0), query, 0, ())


def test_a_verification_says_how_it_stands() -> None:
    assert verification_report(TEMPLATES, None) == ""
    assert "queue is idle" in verification_report(TEMPLATES, Verification(VerifyState.WAITING))
    verdict = Verdict(False, "0", "1", 41.3, ("Torch: <2.12> then, 2.13 now.",))
    page = verification_report(TEMPLATES, Verification(VerifyState.DONE, verdict=verdict))
    assert "Not identical: 41.3 dB. Torch: <2.12> then, 2.13 now." in Reader(page).text
    assert "warning" in page
    failed = Verification(VerifyState.FAILED, error="The LoRA is gone.")
    assert 'role="alert"' in verification_report(TEMPLATES, failed)


def test_11_what_the_demo_did_not_know_stands_in_the_clips_sheet() -> None:
    clip = replace(CLIP, request=make_request(prompt="two dogs in Paris"))
    assert "It knows one ball" in Reader(html.sheet(TEMPLATES, NAMES, clip)).text
    assert "It knows" not in Reader(html.sheet(TEMPLATES, NAMES, CLIP)).text
