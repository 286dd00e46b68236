"""Pages of `/v1/videos`: all is listed once, in one order, however long the list and the pages are."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from tests.api.conftest import Served
from tests.support.studios import QUICK, wait_for
from wan_pipeline.access.roles import Role


def listed(served: Served, limit: int, key: str = "") -> list[str]:
    """All ids, page by page."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    ids: list[str] = []
    with httpx.Client(base_url=served.address, headers=headers, timeout=60, trust_env=False) as client:
        while True:
            query = {"limit": limit, **({"after": ids[-1]} if ids else {})}
            page = client.get("/v1/videos", params=query).json()
            ids += [video["id"] for video in page["data"]]
            assert len(page["data"]) <= limit
            if not page["has_more"]:
                return ids
            assert page["last_id"] == ids[-1]


@pytest.mark.soak
def test_every_video_is_on_one_page(served: Served) -> None:
    studio = served.studio
    done = studio.submit(QUICK)
    wait_for(lambda: studio.jobs.existing(done).clip, "the clip")
    studio.queue.pause_queue()
    waiting = studio.submit_many([replace(QUICK, seed=seed) for seed in range(23)])
    cancelled = studio.submit(QUICK)
    studio.queue.cancel(cancelled)
    newest_first = [f"video_{job_id}" for job_id in (cancelled, *reversed(waiting), done)]
    for limit in (1, 7, 100):
        assert listed(served, limit) == newest_first


@pytest.mark.soak
def test_who_may_only_watch_gets_finished_clips(served: Served) -> None:
    studio = served.studio
    done = [studio.submit(replace(QUICK, seed=seed), "film") for seed in range(3)]
    wait_for(lambda: studio.jobs.existing(done[-1]).clip, "the clips")
    studio.queue.pause_queue()
    studio.submit(QUICK, "film")
    assert sorted(listed(served, 2, served.key(Role.VIEW, "film"))) == sorted(f"video_{job_id}" for job_id in done)


def test_a_page_after_what_is_not_there_is_404(served: Served) -> None:
    with httpx.Client(base_url=served.address, timeout=60, trust_env=False) as client:
        assert client.get("/v1/videos", params={"after": "video_x"}).status_code == 404
