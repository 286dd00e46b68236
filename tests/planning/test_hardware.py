"""The stored hardware: read as it was written, or ignored."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import psutil
import pytest

from wan_pipeline.planning.hardware import Hardware, Speeds, load_hardware, save_hardware
from wan_pipeline.planning.machine import GIB

CARD = Hardware("cuda", "a card", 8 * GIB, int(7.5 * GIB), 64 * GIB, 48 * GIB, Speeds(60e12, 50e12, 20e9))


def test_the_stored_hardware_has_the_memory_of_this_moment(tmp_path):
    assert load_hardware(tmp_path) is None
    save_hardware(CARD, tmp_path)
    found = load_hardware(tmp_path)
    assert replace(found, ram_total=0, ram_free=0) == replace(CARD, ram_total=0, ram_free=0)
    assert found.ram_total == psutil.virtual_memory().total != CARD.ram_total


@pytest.mark.parametrize(
    "change",
    [
        {"vram_free": -1},
        {"vram_free": "all"},
        {"ram_free": 1.5},
        {"name": None},
        {"speeds": {"matmul": 0, "attention": 1e12, "copy": 1e9}},
        {"speeds": {"matmul": 1e12}},
    ],
)
def test_a_file_with_a_bad_value_is_ignored(change, tmp_path):
    (tmp_path / "hardware.json").write_text(json.dumps(asdict(CARD) | change), encoding="utf-8")
    assert load_hardware(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", "", '{"device": "cuda"}', "\ud800", '{"vram_free": 1e400}', "[" * 5000])
def test_a_damaged_file_is_ignored(text, tmp_path):
    (tmp_path / "hardware.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert load_hardware(tmp_path) is None


def test_a_file_of_another_version_may_have_more(tmp_path):
    (tmp_path / "hardware.json").write_text(json.dumps(asdict(CARD) | {"power_watts": 450}), encoding="utf-8")
    assert load_hardware(tmp_path).speeds == CARD.speeds


def test_only_a_clip_that_is_alone_has_the_second_device_too():
    two = replace(CARD, second_free=20 * GIB)
    assert (two.machine_of(2).second, two.machine_of(2, is_alone=True).second) == (0, 20 * GIB)
    assert replace(two, device="cpu").machine_of(2, is_alone=True).second == 0


def test_a_device_without_free_memory_is_no_cpu():
    assert replace(CARD, vram_free=0).machine.vram > 0
    assert replace(CARD, device="cpu").machine.vram == 0
    assert replace(CARD, speeds=None).machine.copy_speed > 0


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_workers_share_what_is_free_and_each_keeps_what_it_holds(device):
    """40 GiB free before two workers pinned 15 each: both may go on with their own model."""
    held = replace(CARD, device=device, ram_free=25 * GIB, ram_own=15 * GIB)
    assert held.machine_of(1).ram == held.machine.ram == 25 * GIB
    assert held.machine_of(2).ram == 20 * GIB
    assert replace(held, ram_own=0).machine_of(2).ram == 12.5 * GIB
    assert replace(held, ram_free=10 * GIB).machine_of(2).ram == 10 * GIB
