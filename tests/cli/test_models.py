"""`models` from the outside: one process a call, a Hub on loopback, and no network after the download."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.faults.disks import small_disk
from tests.support.servers.hub import hub_server
from tests.support.soak import soaked
from tests.support.studios import QUICK, finish, wait_for
from wan_pipeline.cli import main
from wan_pipeline.errors import ModelError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.models.hub.cache import CachedRepository
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.studio import Studio

REPO = "someone/anything"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server() as server:
        server.publish(REPO, tiny.write_wan21_text(tmp_path / "published"))
        server.publish("Wan-AI/Wan2.2-T2V-A14B-Diffusers", tiny.write_experts_text(tmp_path / "experts"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        yield server


@pytest.fixture
def run(settings, capsys):
    def run(*arguments: str, status: int = 0) -> list[dict]:
        folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
        assert main(["models", *arguments, "--json", *folders]) == status, capsys.readouterr().err
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def by_id(lines: list[dict]) -> dict[str, dict]:
    return {line["id"]: line for line in lines}


def test_the_list_holds_every_model_with_its_facts(hub, run):
    models = by_id(run("list"))
    assert models == by_id(run())
    assert models["demo"]["status"] == "installed"
    wan22 = models["wan2.2-t2v-a14b"]
    assert (wan22["status"], wan22["repo"]) == ("available", "Wan-AI/Wan2.2-T2V-A14B-Diffusers")
    assert (wan22["guidance"], wan22["guidance_2"], wan22["steps"], wan22["flow_shift"]) == (4.0, 3.0, 40, 12.0)
    assert wan22["modes"] == ["text-to-video"] and wan22["licence"] == "Apache-2.0" and wan22["gigabytes"] > 100
    assert models["wan2.1-flf2v-14b"]["modes"] == ["image-to-video", "first-last-frame"]
    assert models["wan2.1-vace-14b"]["modes"] == ["text-to-video", "control"]
    least = wan22["minimum_vram_gib"]
    assert least["streamed int8"] < 5 and 25 < least["offload"] < least["resident"]
    assert models["wan3.0"]["minimum_vram_gib"] is None
    assert models["wan3.0"]["status"] == "announced" and "models import" in models["wan3.0"]["problem"]
    assert models["wan2.2-animate-14b"]["status"] == "unsupported" and models["wan2.2-s2v-14b"]["problem"]


def test_a_known_model_is_downloaded_by_its_id_verified_and_removed(hub, run, capsys):
    assert run("download", "wan2.2-t2v-a14b", "--dry-run")[0]["needed_bytes"] > 0
    (entry,) = run("download", "wan2.2-t2v-a14b")
    assert entry["status"] == "installed" and entry["revision"] == hub.commits["Wan-AI/Wan2.2-T2V-A14B-Diffusers"]
    hub.requests.clear()
    assert run("download", "wan2.2-t2v-a14b")[0]["status"] == "installed"
    assert hub.requests == []
    assert run("verify", "wan2.2-t2v-a14b") == [{"id": "wan2.2-t2v-a14b", "whole": True, "problems": []}]
    assert run("remove", "wan2.2-t2v-a14b")[0]["freed_gb"] >= 0
    assert by_id(run("list"))["wan2.2-t2v-a14b"]["status"] == "available"
    assert not list(CachedRepository("Wan-AI/Wan2.2-T2V-A14B-Diffusers").root.parent.glob(".removing*"))


def test_one_wrong_byte_is_found_put_out_and_fetched_anew(hub, run):
    (entry,) = run("download", "wan2.2-t2v-a14b")
    blob = (Path(entry["folder"]) / "transformer_2" / "diffusion_pytorch_model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    (report,) = run("verify", "wan2.2-t2v-a14b", status=1)
    assert not report["whole"] and "transformer_2/diffusion_pytorch_model" in report["problems"][0]
    assert by_id(run("list"))["wan2.2-t2v-a14b"]["status"] == "damaged"
    assert run("download", "wan2.2-t2v-a14b")[0]["status"] == "installed"
    assert run("verify", "wan2.2-t2v-a14b")[0]["whole"]


def test_a_file_that_was_cut_short_is_said_with_the_way_out(hub, run, settings):
    (entry,) = run("download", "wan2.2-t2v-a14b")
    blob = (Path(entry["folder"]) / "vae" / "diffusion_pytorch_model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"header describes .*; run: python -m wan_pipeline models download"):
        ModelLibrary(settings).find("wan2.2-t2v-a14b")
    assert by_id(run("list"))["wan2.2-t2v-a14b"]["status"] == "damaged"
    hub.requests.clear()
    assert run("download", "wan2.2-t2v-a14b")[0]["status"] == "installed"
    assert {path for path, _ in hub.requests} == {"model_index.json", "vae/diffusion_pytorch_model.safetensors"}


def test_what_another_program_has_begun_is_gone_on_with(hub, run, tmp_path):
    """As `hf download` leaves it after a cut: the index is there and a shard is not."""
    repo = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"
    folder = CachedRepository(repo).root / "snapshots" / hub.commits[repo]
    shutil.copytree(hub.repositories[repo], folder)
    (folder.parent.parent / "refs").mkdir()
    (folder.parent.parent / "refs" / "main").write_text(hub.commits[repo])
    assert by_id(run("list"))["wan2.2-t2v-a14b"]["status"] == "installed"
    (folder / "transformer_2" / "diffusion_pytorch_model.safetensors").unlink()
    assert by_id(run("list"))["wan2.2-t2v-a14b"]["status"] == "partial"
    hub.requests.clear()
    assert run("download", "wan2.2-t2v-a14b")[0]["status"] == "installed"
    assert "transformer/diffusion_pytorch_model.safetensors" not in {path for path, _ in hub.requests}


def test_any_repository_is_imported_by_what_its_configurations_say(hub, run):
    (entry,) = run("import", REPO, "--title", "My model")
    assert (entry["id"], entry["title"], entry["status"]) == ("anything", "My model", "available")
    assert entry["modes"] == ["text-to-video"] and entry["licence"] == "apache-2.0" and entry["gigabytes"] >= 0
    assert run("download", "anything")[0]["status"] == "installed"
    assert by_id(run("list"))["anything"]["revision"] == hub.commits[REPO]
    run("remove", "anything")
    assert "anything" not in by_id(run("list"))


def test_a_download_of_any_repository_imports_it(hub, run):
    (entry,) = run("download", REPO)
    assert (entry["id"], entry["status"], entry["repo"]) == ("anything", "installed", REPO)


def test_a_folder_is_imported_where_it_lies(hub, run, tmp_path):
    folder = tiny.write_vace(tmp_path / "My VACE")
    (entry,) = run("import", str(folder), "--id", "mine")
    assert (entry["id"], entry["status"], entry["modes"]) == ("mine", "installed", ["text-to-video", "control"])
    assert Path(entry["folder"]) == folder and entry["revision"] is None
    shutil.move(folder, tmp_path / "elsewhere")
    assert by_id(run("list"))["mine"]["status"] == "missing"
    run("remove", "mine")
    assert (tmp_path / "elsewhere").is_dir() and "mine" not in by_id(run("list"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("download", "wan9"), "no model 'wan9'"),
        (("download", "wan3.0"), "weights are not public"),
        (("download", "wan2.2-s2v-14b"), "diffusers 0.42 has no pipeline"),
        (("download", "someone/nothing"), "check the spelling"),
        (("import", "someone/nothing"), "check the spelling"),
        (("import", "/no/such/folder"), "no model_index.json"),
        (("import", REPO, "--id", "demo"), "already a model 'demo'"),
        (("import", REPO, "--id", "../x"), "cannot be a model's id"),
        (("verify", "wan2.1-t2v-14b"), "nothing to verify"),
        (("remove", "wan2.1-t2v-14b"), "nothing to remove"),
        (("remove", "demo"), "cannot be removed"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(hub, settings, capsys, arguments, words):
    folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
    assert main(["models", *arguments, *folders]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def _gated(hub, tmp_path, patch) -> None:
    hub.faults.gated = True


def _no_network(hub, tmp_path, patch) -> None:
    patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")


def _no_room(hub, tmp_path, patch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    patch.setattr("wan_pipeline.models.transfer.shutil.disk_usage", lambda folder: usage)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (_gated, "is gated: accept its terms at"),
        soaked(_no_network, "cannot be reached for Wan-AI/Wan2.2-T2V-A14B-Diffusers"),
        soaked(_no_room, "free some space, or set HF_HOME"),
    ],
)
def test_a_download_that_fails_leaves_no_model_and_stops_no_clip(
    hub, settings, run, capsys, tmp_path, monkeypatch, fault, words
):
    with monkeypatch.context() as patch:
        fault(hub, tmp_path, patch)
        folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
        assert main(["models", "download", "wan2.2-t2v-a14b", *folders]) == 2
    error = capsys.readouterr().err
    assert words in error.splitlines()[-1] and "Traceback" not in error
    assert by_id(run("list"))["wan2.2-t2v-a14b"]["status"] in ("available", "partial")
    with Studio(settings) as studio:
        (job,) = finish(studio, settings, QUICK)
        assert (job.state, job.error) == (JobState.DONE, None)
    hub.faults.gated = False
    assert run("download", "wan2.2-t2v-a14b")[0]["status"] == "installed"


@pytest.mark.skipif(os.name != "posix", reason="mounts a small disk")
def test_a_disk_that_fills_up_under_a_download_is_a_sentence_and_the_next_one_is_whole(
    hub, run, settings, capsys, tmp_path
):
    (tmp_path / "hub").mkdir()
    usage = shutil.disk_usage(tmp_path)
    with small_disk(tmp_path / "hub", "100k"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("wan_pipeline.models.transfer.shutil.disk_usage", lambda folder: usage)
        folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
        assert main(["models", "download", "wan2.2-t2v-a14b", *folders]) == 2
        assert "is full; free some space or choose a folder on another disk." in capsys.readouterr().err
        assert by_id(run("list"))["wan2.2-t2v-a14b"]["status"] == "partial"
    assert run("download", "wan2.2-t2v-a14b")[0]["status"] == "installed"


def test_the_lines_for_a_person(hub, settings, capsys):
    assert main(["models", "--workspace", str(settings.workspace)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("wan2.2-ti2v-5b") and "available" in line and "34.0 GB" in line for line in lines)


@pytest.mark.soak
@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_killed_while_downloading_it_goes_on_and_a_clip_is_made_offline(hub, settings, tmp_path):
    """The whole way as a person goes it: a power cut, the download again, then a clip without any network."""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-m", "wan_pipeline", "--workspace", str(settings.workspace)]
    hub.faults.seconds_a_chunk = 0.05
    process = subprocess.Popen([*command, "models", "download", REPO], env=environment, stderr=subprocess.PIPE)
    cache = tmp_path / "home" / "hub"
    wait_for(lambda: any(part.stat().st_size > 4096 for part in cache.rglob("*.incomplete")), "half a file")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(cache.rglob("model_index.json"))
    hub.faults.seconds_a_chunk = 0.0
    hub.requests.clear()
    subprocess.run([*command, "models", "download", REPO], env=environment, check=True, capture_output=True)
    assert any(bounds for _, bounds in hub.requests)
    environment |= {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    listed = subprocess.run([*command, "models", "--json"], env=environment, check=True, capture_output=True, text=True)
    assert by_id([json.loads(line) for line in listed.stdout.splitlines()])["anything"]["status"] == "installed"
    clip = tmp_path / "clip.mp4"
    size = ["--width", "128", "--height", "128", "--frames", "5", "--steps", "2", "--model", "anything"]
    made = [*command, "generate", "--prompt", "a red ball", *size, "--output", str(clip)]
    subprocess.run(made, env=environment, check=True, capture_output=True)
    assert clip.is_file()
