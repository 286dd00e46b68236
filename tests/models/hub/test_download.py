"""Downloads from a Hub that cuts, corrupts, slows down and refuses: whole and as published, or not there."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from tests.support.servers.hub import REPO, WEIGHTS, HubServer
from wan_pipeline.errors import Cancelled, ModelError, StorageError
from wan_pipeline.models import transfer
from wan_pipeline.models.hub.cache import CachedRepository
from wan_pipeline.models.hub.client import Hub
from wan_pipeline.models.hub.download import damaged_files, download, plan_download
from wan_pipeline.models.transfer import TransferProgress


class Watcher:
    """Counts, and cancels after `stop_after` bytes."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[TransferProgress] = []
        self._stop_after = stop_after

    def transferred(self, progress: TransferProgress) -> None:
        self.seen.append(progress)

    def cancelled(self) -> bool:
        return self._stop_after is not None and bool(self.seen) and self.seen[-1].done_bytes > self._stop_after


def fetch(server: HubServer, watcher: Watcher | None = None, timeout: float = 10.0) -> Path:
    hub = Hub(server.url, timeout)
    return download(hub, plan_download(hub, REPO), watcher or Watcher(), pause_seconds=0.01)


def test_what_was_fetched_is_what_was_published_and_nothing_that_nobody_needs(server, published):
    watcher = Watcher()
    folder = fetch(server, watcher)
    assert folder.name == server.commits[REPO]
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert WEIGHTS in names and "model_index.json" in names and "tokenizer/tokenizer.json" in names
    assert not names & {"README.md", "assets/picture.png", "transformer/diffusion_pytorch_model.fp16.safetensors"}
    for name in names:
        assert (folder / name).read_bytes() == (published / name).read_bytes()
    assert (
        watcher.seen[-1].done_bytes == watcher.seen[-1].total_bytes == sum((folder / n).stat().st_size for n in names)
    )


def test_the_cache_is_the_ordinary_one(server):
    folder = fetch(server)
    assert huggingface_hub.try_to_load_from_cache(REPO, "model_index.json") == str(folder / "model_index.json")
    assert huggingface_hub.scan_cache_dir().repos
    assert huggingface_hub.hf_hub_download(REPO, WEIGHTS, local_files_only=True) == str(folder / WEIGHTS)


def test_the_model_index_comes_last(server):
    fetch(server)
    asked = [path for path, _ in server.requests]
    assert asked[-1] == "model_index.json" and asked.count("model_index.json") == 2  # the first to know what to fetch


def test_a_second_download_fetches_no_weights(server):
    fetch(server)
    server.requests.clear()
    assert plan_download(Hub(server.url), REPO).needed_bytes == 0
    fetch(server)
    assert {path for path, _ in server.requests} == {"model_index.json"}


def test_a_cut_is_resumed_where_it_was(server, published):
    server.faults.cuts[WEIGHTS] = 3
    folder = fetch(server)
    assert (folder / WEIGHTS).read_bytes() == (published / WEIGHTS).read_bytes()
    starts = [int(bounds.strip("bytes=-") or 0) for bounds in server.bytes_asked(WEIGHTS)]
    assert len(starts) == 4 and starts == sorted(set(starts)) and starts[1] > 0


def test_a_download_that_was_stopped_goes_on_later(server, published):
    """Stopped in the middle of the weights; the next one, as in another process, asks only for the rest."""
    server.faults.seconds_a_chunk = 0.002
    with pytest.raises(Cancelled):
        fetch(server, Watcher(stop_after=published.joinpath(WEIGHTS).stat().st_size // 2))
    assert CachedRepository(REPO).snapshot() is None and CachedRepository(REPO).is_begun()
    plan = plan_download(Hub(server.url), REPO)
    assert 0 < plan.needed_bytes < plan.total_bytes
    server.faults.seconds_a_chunk = 0.0
    server.requests.clear()
    watcher = Watcher()
    folder = fetch(server, watcher)
    assert watcher.seen[0].done_bytes >= plan.present_bytes
    assert any(bounds for _, bounds in server.requests)
    for path in folder.rglob("*.safetensors"):
        assert path.read_bytes() == (published / path.relative_to(folder)).read_bytes()


def test_a_server_that_knows_no_ranges_sends_all_again(server, published):
    server.faults.cuts[WEIGHTS] = 1
    server.faults.ignores_ranges = True
    watcher = Watcher()
    folder = fetch(server, watcher)
    assert (folder / WEIGHTS).read_bytes() == (published / WEIGHTS).read_bytes()
    assert watcher.seen[-1].done_bytes == watcher.seen[-1].total_bytes


def test_a_server_that_is_overloaded_is_asked_again(server):
    plan = plan_download(Hub(server.url), REPO)
    server.faults.refusals = [503, 429, 500]
    assert download(Hub(server.url), plan, Watcher(), pause_seconds=0.01).is_dir()


def test_a_server_that_stays_overloaded_is_a_sentence(server):
    plan = plan_download(Hub(server.url), REPO)
    server.faults.refusals = [503] * 20
    with pytest.raises(
        ModelError, match=r"answered 503 for tiny/wan; try again later: what has been downloaded is kept"
    ):
        download(Hub(server.url), plan, Watcher(), pause_seconds=0.001)


def test_silence_is_a_sentence(server):
    plan = plan_download(Hub(server.url), REPO)
    server.faults.silent = threading.Event()
    with pytest.raises(ModelError, match="check the network and try again: what has been downloaded is kept"):
        download(Hub(server.url, timeout=0.1), plan, Watcher(), pause_seconds=0.001)
    server.faults.silent.set()


def test_what_arrived_damaged_comes_anew(server, published):
    server.faults.corrupt[WEIGHTS] = 1
    watcher = Watcher()
    folder = fetch(server, watcher)
    assert (folder / WEIGHTS).read_bytes() == (published / WEIGHTS).read_bytes()
    assert watcher.seen[-1].done_bytes == watcher.seen[-1].total_bytes


@pytest.mark.parametrize("path", [WEIGHTS, "transformer/config.json"])
def test_what_stays_damaged_is_refused_and_thrown_away(server, path):
    server.faults.corrupt[path] = 99
    with pytest.raises(ModelError, match=f"{path} of tiny/wan arrived damaged twice"):
        fetch(server)
    assert CachedRepository(REPO).snapshot() is None
    assert not [
        file for file in CachedRepository(REPO).root.rglob("*") if file.is_file() and file.suffix == ".incomplete"
    ]


def test_a_part_that_was_damaged_on_the_disk_is_not_built_upon(server, published):
    plan = plan_download(Hub(server.url), REPO)
    file = plan.repository.file(WEIGHTS)
    part = CachedRepository(REPO).part(file)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * 1000)
    assert (fetch(server) / WEIGHTS).read_bytes() == (published / WEIGHTS).read_bytes()


def test_an_overlong_part_is_thrown_away(server, published):
    file = plan_download(Hub(server.url), REPO).repository.file(WEIGHTS)
    part = CachedRepository(REPO).part(file)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * (file.size + 1))
    assert (fetch(server) / WEIGHTS).read_bytes() == (published / WEIGHTS).read_bytes()


def test_a_new_commit_leaves_the_pinned_one_until_it_is_whole(server, published):
    first = fetch(server)
    (published / "transformer" / "config.json").write_text(
        (published / "transformer" / "config.json").read_text() + " "
    )
    server.publish(REPO, published)
    server.faults.corrupt["transformer/config.json"] = 99
    with pytest.raises(ModelError):
        fetch(server)
    assert CachedRepository(REPO).snapshot() == first
    server.faults.corrupt.clear()
    assert CachedRepository(REPO).snapshot() != fetch(server) != first
    assert CachedRepository(REPO).snapshot().name == server.commits[REPO]


def test_no_room_is_said_before_a_byte_is_fetched(server, monkeypatch):
    plan = plan_download(Hub(server.url), REPO)
    usage = type(shutil.disk_usage("/"))(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda folder: usage)
    server.requests.clear()
    with pytest.raises(ModelError, match=r"tiny/wan needs [\d.]+ .B more and the disk of .* has 0 kB free"):
        download(Hub(server.url), plan, Watcher())
    assert server.requests == []


def test_two_at_once_are_told_apart(server):
    plan = plan_download(Hub(server.url), REPO)
    with CachedRepository(REPO).locked(), pytest.raises(ModelError, match="being downloaded by another program"):
        download(Hub(server.url), plan, Watcher())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_a_sentence(server, cache):
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written to"):
        fetch(server)


def test_verify_finds_one_wrong_byte_and_a_missing_file(server):
    folder = fetch(server)
    assert damaged_files(REPO, folder.name, Watcher()) == []
    blob = (folder / WEIGHTS).resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    (folder / "vae" / "config.json").unlink()
    assert sorted(damaged_files(REPO, folder.name, Watcher())) == [WEIGHTS, "vae/config.json"]
    CachedRepository(REPO).forget(folder.name, WEIGHTS)
    fetch(server)
    assert damaged_files(REPO, folder.name, Watcher()) == []


def test_verify_knows_nothing_of_what_others_fetched(cache):
    assert damaged_files(REPO, "0" * 40, Watcher()) is None


def test_where_there_are_no_links_files_are_moved(server, monkeypatch, published):
    def refuse(*_: object) -> None:
        raise OSError("a required privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = fetch(server)
    assert (folder / WEIGHTS).read_bytes() == (published / WEIGHTS).read_bytes()
    assert plan_download(Hub(server.url), REPO).needed_bytes == 0
    assert damaged_files(REPO, folder.name, Watcher()) == []
