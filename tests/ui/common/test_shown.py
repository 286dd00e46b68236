"""What a tab shows is known by what it says itself."""

from __future__ import annotations

import pytest

from wan_pipeline.ui.common.shown import changed, digests


def test_an_answer_that_was_lost_is_sent_again() -> None:
    before, now = digests({"view": "step 1", "timer": True}), digests({"view": "done", "timer": False})
    assert changed(now, before) == {"view", "timer"}, "until the browser says that it has it"
    assert changed(now, now) == set()


@pytest.mark.parametrize("shown", [None, [], "x", {}, {"view": 5}, {"other": "x"}])
def test_whatever_a_browser_says_is_read(shown: object) -> None:
    assert changed(digests({"view": "done"}), shown) == {"view"}
