"""`plan` and `doctor`, as a person or a script runs them."""

from __future__ import annotations

import json
import os

import pytest

from tests.support import tiny
from tests.support.commands import wan
from wan_pipeline.cli import main
from wan_pipeline.engine.device import probe as probing
from wan_pipeline.engine.device import second
from wan_pipeline.jobs.launch import VISIBLE_DEVICES
from wan_pipeline.planning.hardware import Hardware, Speeds
from wan_pipeline.planning.machine import GIB
from wan_pipeline.projects.project import Profile, Project
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.layers import Setup

CARD = [
    "--model",
    "wan2.1-t2v-14b",
    "--width",
    "832",
    "--height",
    "480",
    "--frames",
    "81",
    "--vram",
    "7.2",
    "--ram",
    "32",
]


def test_a_plan_as_json_for_another_machine():
    result = wan("plan", *CARD, "--json")
    assert result.returncode == 0 and result.stderr == ""
    plan = json.loads(result.stdout)
    assert plan["fits"] is True and plan["quantization"] == "int8"
    assert 0 < plan["peak_vram_gib"] <= 7.2 and 0 < plan["peak_ram_gib"] <= 32 and plan["seconds"] > 0
    assert plan["resident_blocks"] < plan["blocks"] == 40


def test_a_plan_for_a_person():
    result = wan("plan", *CARD)
    assert result.returncode == 0 and "fits: " in result.stdout and "of 7.2 GiB" in result.stdout


def test_a_plan_of_ones_own(capsys):
    text = "streamed,int8,blocks=2,chunk=8192,text=streamed,tile=256"
    forced = json.loads(run(capsys, *CARD, "--plan", text))
    assert forced["plan"] == text and forced["resident_blocks"] == 2 and forced["vae_tile"] == 256
    assert json.loads(run(capsys, *CARD, "--plan", "offload"))["residency"] == "offload"
    assert json.loads(run(capsys, *CARD, "--plan", "streamed", "--quantization", "fp8"))["quantization"] == "fp8"
    assert json.loads(run(capsys, *CARD, "--compiled"))["plan"].endswith(",compiled")


def test_a_plan_for_two_cards_tells_of_both(capsys, monkeypatch):
    card = Hardware("cuda", "a card", 80 * GIB, 78 * GIB, 400 * GIB, 380 * GIB, Speeds(600e12, 500e12, 50e9))
    monkeypatch.setattr(probing, "probe", lambda *_: card)
    monkeypatch.setattr(second, "second_free", lambda *_: 78 * GIB)
    for name in (*VISIBLE_DEVICES, "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "")  # and so put back
    clip = ["--model", "wan2.1-t2v-14b", "--steps", "20"]
    one, two = (json.loads(run(capsys, *clip, *devices)) for devices in ([], ["--devices", "0,1"]))
    assert (one["branches"], one["second_vram_gib"]) == (1, 0)
    assert two["branches"] == 2 and two["second_vram_gib"] == two["stages"]["denoising"]["vram_gib"] > 0
    assert two["seconds"] < 0.7 * one["seconds"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert main(["plan", *clip, "--devices", "0,1"]) == 0
    assert "a guidance branch each; " in capsys.readouterr().out


def test_a_limit_is_as_good_as_a_small_card(capsys):
    small = json.loads(run(capsys, *CARD))
    assert json.loads(run(capsys, *CARD, "--vram", "24", "--memory-limit", "7.2GiB")) == small
    assert json.loads(run(capsys, *CARD, "--memory-limit", "24")) == small


def test_a_plan_for_an_imported_model(capsys, settings, tmp_path):
    folder = tiny.write_wan21_text(tmp_path / "mine")
    folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
    assert main(["models", "import", str(folder), *folders]) == 0
    capsys.readouterr()
    card = ["--model", "mine", "--frames", "9", "--vram", "8", "--ram", "16", *folders]
    plan = json.loads(run(capsys, *card))
    assert (plan["model"], plan["blocks"], plan["fits"]) == ("mine", 2, True)


def run(capsys, *arguments) -> str:
    """In this process."""
    assert main(["plan", *arguments, "--json"]) == 0
    return capsys.readouterr().out


def test_a_plan_without_a_project_has_the_setup_of_the_default_one(capsys, settings):
    asked = ["plan", "--vram", "7.2", "--ram", "32", "--json", f"--workspace={settings.workspace}"]
    assert main(asked) == 0
    bare = json.loads(capsys.readouterr().out)
    setup = Setup(width=160, height=160, num_frames=5)
    Projects(settings.projects).create(Project("default", "Default", setup, draft=Profile(width=192)))
    assert main(asked) == 0
    planned = json.loads(capsys.readouterr().out)
    assert [planned[name] for name in ("model", "width", "height", "frames")] == [bare["model"], 160, 160, 5]
    assert main([*asked, "--profile", "draft"]) == 0
    assert json.loads(capsys.readouterr().out)["width"] == 192


def test_what_does_not_fit_is_an_answer_too():
    plan = json.loads(wan("plan", *CARD[:-4], "--vram", "1", "--ram", "32", "--json").stdout)
    assert plan["fits"] is False and "choose" in plan["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "none"], "There is no model 'none'"),
        (["--width", "100"], "Width 100 is out of range; Demo (bundled) makes 160 to 896"),
        (["--width", "200"], "Width 200 is not a multiple of 32, as Demo (bundled) needs; use 192 or 224"),
        (["--frames", "80"], "80 frames is out of range"),
        (["--frames", "32"], "32 frames is not of the form 4k+1"),
        (["--vram", "-1"], "'-1' is no size of memory; use one such as 8GB"),
        (["--ram", "much"], "'much' is no size of memory"),
        (["--memory-limit", "8 cards"], "'8 cards' is no size of memory"),
        (["--plan", "tiled"], "'tiled' is not a memory plan; use resident, offload, streamed, or the whole text"),
        (["--plan", "streamed,int8,blocks=few"], "is not a memory plan"),
        (["--steps", "0"], "Steps 0 is out of range"),
    ],
)
def test_a_wrong_wish_is_one_line(arguments, words, capsys):
    assert main(["plan", "--vram", "8", "--ram", "16", *arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err and told.err.count("\n") == 1 and told.out == ""


def test_the_doctor_tells_of_this_machine_and_every_model(tmp_path):
    result = wan("doctor", "--json", "--workspace", tmp_path)
    assert result.returncode == 0
    report = json.loads(result.stdout)
    assert report["ram_total_gib"] > report["ram_free_gib"] > 0 and report["disk_free_gib"] > 0
    assert report["models"]["demo"]["fits"] is True and "wan2.2-t2v-a14b" in report["models"]
    assert "fits: " in wan("doctor", "--workspace", tmp_path).stdout
