"""Downloads and verifications for the page: in a process of their own, stopped, killed, resumed, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import psutil
import pytest

from tests.support.servers.hub import HubServer, hub_server
from tests.support.studios import wait_for
from wan_pipeline.errors import ModelError, UserError
from wan_pipeline.jobs.background.transfers import ModelTransfer, Transfers, TransferState, TransferTask, run
from wan_pipeline.models.entries import Entry, Status
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager
from wan_pipeline.settings import Settings

MODEL = "wan2.2-ti2v-5b"
REPO = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hugging Face cache of this process and of those that it starts."""
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def server(cache: Path, tiny_demo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        server.publish(REPO, tiny_demo)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        yield server


def entry(settings: Settings) -> Entry:
    return ModelManager(settings, ModelLibrary(settings)).entry(MODEL)


def state(fetches: Transfers) -> ModelTransfer:
    fetch = fetches.of(MODEL)
    assert fetch is not None
    return fetch


def begun(settings: Settings, server: HubServer) -> Transfers:
    """A download that takes long, some bytes of it here."""
    server.faults.seconds_a_chunk = 0.05
    fetches = Transfers(settings)
    fetches.start(TransferTask.DOWNLOAD, MODEL)
    wait_for(lambda: state(fetches).progress.done_bytes > 0, "bytes come")
    return fetches


def over(fetches: Transfers) -> ModelTransfer:
    wait_for(lambda: not state(fetches).is_running, "the process ends")
    return state(fetches)


def kill_downloader() -> None:
    alive = (child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE)
    downloader = next(child for child in alive if "wan_pipeline.jobs.background.transfers" in child.cmdline())
    downloader.kill()
    downloader.wait()


def test_nothing_is_known_of_a_model_that_was_never_fetched(settings: Settings) -> None:
    assert Transfers(settings).of(MODEL) is None


def test_a_stopped_download_goes_on_from_where_it_stood(settings: Settings, server: HubServer) -> None:
    fetches = begun(settings, server)
    with pytest.raises(UserError, match="already"):
        Transfers(settings).start(TransferTask.DOWNLOAD, MODEL)  # another app
    with pytest.raises(UserError, match="stop that first"):
        fetches.forget(MODEL)
    fetches.stop(MODEL)
    assert over(fetches) == ModelTransfer(TransferTask.DOWNLOAD, TransferState.STOPPED)
    assert entry(settings).status is Status.PARTIAL
    server.faults.seconds_a_chunk = 0.0
    fetches.start(TransferTask.DOWNLOAD, MODEL)
    assert over(fetches).state is TransferState.DONE
    assert entry(settings).status is Status.INSTALLED
    fetches.forget(MODEL)
    assert fetches.of(MODEL) is None


@pytest.mark.soak
def test_a_download_outlives_the_app_and_its_death_is_told(settings: Settings, server: HubServer) -> None:
    begun(settings, server)
    later = Transfers(settings)  # an app that is opened afterwards
    assert state(later).is_running and state(later).progress.total_bytes > state(later).progress.done_bytes
    kill_downloader()
    assert state(later).state is TransferState.STOPPED and "models.log" in state(later).error
    later.stop(MODEL)  # nothing runs: nothing is to be stopped
    server.faults.seconds_a_chunk = 0.0
    later.start(TransferTask.DOWNLOAD, MODEL)
    assert over(later) == ModelTransfer(TransferTask.DOWNLOAD, TransferState.DONE)


@pytest.mark.soak
def test_a_download_has_the_token_of_the_hub(
    settings: Settings, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    fetches = Transfers(settings)
    fetches.start(TransferTask.DOWNLOAD, MODEL)
    assert over(fetches).state is TransferState.DONE
    assert server.authorizations == {"Bearer hf_mine"}


def test_what_the_hub_refuses_is_said(settings: Settings, server: HubServer) -> None:
    server.faults.gated = True
    end = run(settings, TransferTask.DOWNLOAD, MODEL)
    assert end.state is TransferState.FAILED and "is gated: accept its terms" in end.error
    assert Transfers(settings).of(MODEL) == end


def test_verifying_names_the_file_that_is_not_as_published(settings: Settings, server: HubServer) -> None:
    assert run(settings, TransferTask.DOWNLOAD, MODEL).state is TransferState.DONE
    assert run(settings, TransferTask.VERIFY, MODEL) == ModelTransfer(TransferTask.VERIFY, TransferState.DONE)
    folder = entry(settings).folder
    weights = (folder / WEIGHTS).resolve()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    end = run(settings, TransferTask.VERIFY, MODEL)
    assert end.problems == (f"{WEIGHTS} is not as published; download the model again.",)
    assert run(settings, TransferTask.DOWNLOAD, MODEL).state is TransferState.DONE
    assert run(settings, TransferTask.VERIFY, MODEL).problems == ()
    assert [path for path, _ in server.requests].count(WEIGHTS) == 2, "only what was damaged comes anew"


def test_a_file_that_cannot_be_read_counts_as_never_written(settings: Settings) -> None:
    path = settings.cache / "fetches" / f"{MODEL}.json"
    path.parent.mkdir()
    path.write_text("{half")
    assert Transfers(settings).of(MODEL) is None


@pytest.mark.parametrize(
    ("text", "transfer"),
    [
        (
            '{"task": "fetch", "state": "stopped", "error": "", "problems": [], "transfer": ["a", 1, 2, 3.5]}',
            ModelTransfer(TransferTask.DOWNLOAD, TransferState.STOPPED),
        ),
        (
            '{"task": "verify", "state": "done", "error": "", "problems": ["a is not"], "transfer": ["", 0, 0, 0.0]}',
            ModelTransfer(TransferTask.VERIFY, TransferState.DONE, problems=("a is not",)),
        ),
    ],
)
def test_state_files_of_older_versions_are_read(settings: Settings, text: str, transfer: ModelTransfer) -> None:
    path = settings.cache / "fetches" / f"{MODEL}.json"
    path.parent.mkdir()
    path.write_text(text)
    assert Transfers(settings).of(MODEL) == transfer


@pytest.mark.parametrize(
    "values",
    [
        {"task": "dancing"},
        {"state": 1},
        {"problems": "none"},
        {"progress": {"done_bytes": -1}},
        {"progress": {"total_bytes": 10**400}},
        {"progress": {"bytes_per_second": -5.0}},
        {"progress": [1, 2]},
    ],
)
def test_values_of_another_kind_count_as_never_written(settings: Settings, values: dict[str, object]) -> None:
    path = settings.cache / "fetches" / f"{MODEL}.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"task": "verify", "state": "done", **values}))
    assert Transfers(settings).of(MODEL) is None


@pytest.mark.parametrize("model_id", ["../../clips/mine", "..", "a/b", "a\\b", "", "\0", "UPPER"])
def test_what_is_no_id_is_no_name_of_a_file(settings: Settings, model_id: str) -> None:
    settings.clips.mkdir(exist_ok=True)
    (settings.clips / "mine.json").write_text("a receipt")
    transfers = Transfers(settings)
    for act in (transfers.of, transfers.stop, transfers.forget, partial(transfers.start, TransferTask.VERIFY)):
        with pytest.raises(ModelError, match="cannot be a model's id"):
            act(model_id)
    assert (settings.clips / "mine.json").read_text() == "a receipt"
    assert not (settings.cache / "fetches").exists()
