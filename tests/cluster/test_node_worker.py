"""A worker on a node: one clip at a time, whatever the studio's machine asks."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.support.nodes import LocalNode, StepRenderer
from tests.support.requests import make_request
from tests.support.studios import wait_for
from wan_pipeline.cluster.node_worker import NodeWorker
from wan_pipeline.cluster.wire import NodeSetup, Seen, Task
from wan_pipeline.engine.rendered import Rendered
from wan_pipeline.errors import NodeLost
from wan_pipeline.progress import Observer
from wan_pipeline.requests.request import GenerationRequest


def test_what_dead_workers_left_is_removed_and_what_living_ones_have_stays(tmp_path: Path) -> None:
    """A worker that is killed removes nothing."""
    runs = tmp_path / "runs"
    (runs / "dead" / "loras").mkdir(parents=True)
    (runs / "dead.lock").touch()
    (runs / "older").mkdir()
    first = NodeWorker(NodeSetup(folder=str(tmp_path)))
    [mine] = [path for path in runs.iterdir() if path.is_dir()]
    assert mine.with_suffix(".lock").exists() and len(list(runs.iterdir())) == 2
    second = NodeWorker(NodeSetup(folder=str(tmp_path)))
    assert mine.is_dir() and len(list(runs.iterdir())) == 4
    del first, second
    gc.collect()
    NodeWorker(NodeSetup(folder=str(tmp_path)))
    assert len(list(runs.iterdir())) == 2


def task(name: str, seed: int = 0) -> Task:
    return Task(name, make_request(seed=seed).to_json(), "", deterministic=False, files=(), checkpoint=None)


def test_no_clip_begins_while_another_is_being_made(tmp_path: Path) -> None:
    node = LocalNode(tmp_path, "a", lambda settings: StepRenderer(settings, waits_at=2))
    node.start(task("first", seed=1))
    wait_for(lambda: bool(node.made) and node.made[0].reached.is_set(), "the second step")
    node.start(task("first", seed=1))  # a call that got no answer, repeated
    with pytest.raises(NodeLost, match="still being made"):
        node.start(task("second", seed=2))
    node.made[0].goes_on.set()
    wait_for(lambda: node.report(Seen()).is_over, "the first clip")
    first = node.take().rendered
    assert first is not None and first.frames.max() == 1
    node.start(task("second", seed=2))
    wait_for(lambda: node.report(Seen()).is_over, "the second clip")
    second = node.take().rendered
    assert second is not None and second.frames.max() == 2


def test_an_error_of_a_library_travels_by_its_name(tmp_path: Path) -> None:
    """Its type may not be there on the studio's machine, or not be one that can be pickled."""

    class OddError(Exception):
        pass

    class Failing(StepRenderer):
        def render(
            self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
        ) -> Rendered:
            raise OddError("no such kernel")

    node = LocalNode(tmp_path, "a", Failing)
    node.start(task("first"))
    wait_for(lambda: node.report(Seen()).is_over, "the end")
    outcome = node.take()
    assert type(outcome.error) is RuntimeError and str(outcome.error) == "OddError: no such kernel"
    assert "raise OddError" in outcome.trace
