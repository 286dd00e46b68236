"""`plan` and `doctor`, as a person or a script runs them."""

from __future__ import annotations

import json

import pytest

from tests.commands import wan

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


def test_what_does_not_fit_is_an_answer_too():
    plan = json.loads(wan("plan", *CARD[:-4], "--vram", "1", "--ram", "32", "--json").stdout)
    assert plan["fits"] is False and "choose" in plan["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "none"], "There is no model 'none'"),
        (["--width", "100"], "width 100 is not a multiple"),
        (["--frames", "80"], "80 frames"),
        (["--vram", "-1"], "-1"),
        (["--steps", "0"], "0 steps"),
    ],
)
def test_a_wrong_wish_is_one_line(arguments, words):
    result = wan("plan", "--vram", "8", "--ram", "16", *arguments)
    assert result.returncode == 2 and words in result.stderr and result.stderr.count("\n") == 1


def test_the_doctor_tells_of_this_machine_and_every_model(tmp_path):
    result = wan("doctor", "--json", "--workspace", tmp_path)
    assert result.returncode == 0
    report = json.loads(result.stdout)
    assert report["ram_total_gib"] > report["ram_free_gib"] > 0 and report["disk_free_gib"] > 0
    assert report["models"]["demo"]["fits"] is True and "wan2.2-t2v-a14b" in report["models"]
    assert "fits: " in wan("doctor", "--workspace", tmp_path).stdout
