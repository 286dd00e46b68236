"""Probing: what the machine has, its speeds, and a device that does not answer."""

from __future__ import annotations

import json

import psutil
import pytest
import torch

from wan_pipeline.engine.attention import measured
from wan_pipeline.engine.device import probe as probe_module
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.engine.fused import measured as measured_fused
from wan_pipeline.planning.attention import SageSpeed
from wan_pipeline.planning.hardware import Speeds

CUDA = torch.device("cuda")


class Card:
    """What torch's module of a device answers."""

    def __init__(self, free, total, own=0):
        self._answer, self._own = (free, total), own

    def mem_get_info(self):
        if self._answer[0] is None:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return self._answer

    def memory_reserved(self):
        return self._own

    def get_device_name(self):
        return "a card"


def with_card(monkeypatch, *memory):
    monkeypatch.setattr(torch, "get_device_module", lambda kind: Card(*memory))


def test_the_cpu_has_the_machines_memory_and_no_device():
    found = probe(torch.device("cpu"))
    assert (found.device, found.vram_total, found.speeds) == ("cpu", 0, None)
    assert found.ram_total == psutil.virtual_memory().total
    assert found.machine.vram == 0


def test_what_this_program_holds_itself_counts_as_free(monkeypatch):
    with_card(monkeypatch, 2 * 2**30, 8 * 2**30, 5 * 2**30)
    assert probe(CUDA).vram_free == 7 * 2**30


def test_a_device_that_is_lost_has_no_free_memory(monkeypatch, tmp_path):
    with_card(monkeypatch, None, None)
    found = probe(CUDA, tmp_path)
    assert (found.name, found.vram_free, found.speeds) == ("a card", 0, None)
    assert found.machine.vram > 0, "a device without free memory is no CPU"


def test_speeds_that_cannot_be_measured_are_none_and_are_not_saved(monkeypatch, tmp_path):
    with_card(monkeypatch, 2**30, 2**30)
    monkeypatch.setattr(probe_module, "measure", lambda device: None)
    assert probe(CUDA, tmp_path).speeds is None and not list(tmp_path.iterdir())


def test_speeds_are_measured_once_for_a_device_and_a_version(monkeypatch, tmp_path):
    with_card(monkeypatch, 2**30, 2**30)
    asked = []
    speeds = Speeds(1.0, 2.0, 3.0, fused=1.5)
    monkeypatch.setattr(probe_module, "measure", lambda device: asked.append(device) or speeds)
    assert probe(CUDA, tmp_path).speeds == probe(CUDA, tmp_path).speeds == speeds
    assert asked == [CUDA]
    saved = json.loads((tmp_path / "speeds.json").read_text(encoding="utf-8"))
    assert list(saved) == [f"a card, torch {torch.__version__}"]


def test_speeds_of_a_version_without_fused_operations_are_measured_again(monkeypatch, tmp_path):
    with_card(monkeypatch, 2**30, 2**30)
    old = {f"a card, torch {torch.__version__}": {"matmul": 1.0, "attention": 2.0, "copy": 3.0}}
    (tmp_path / "speeds.json").write_text(json.dumps(old), encoding="utf-8")
    monkeypatch.setattr(probe_module, "measure", lambda device: Speeds(1.0, 2.0, 3.0, fused=1.2))
    assert probe(CUDA, tmp_path).machine.fused
    monkeypatch.setattr(probe_module, "measure", lambda device: None)
    assert probe(CUDA, tmp_path).machine.fused


def test_speeds_that_another_worker_saves_meanwhile_are_kept(monkeypatch, tmp_path):
    with_card(monkeypatch, 2**30, 2**30)

    def measure(device):
        (tmp_path / "speeds.json").write_text('{"another": {"matmul": 1, "attention": 1, "copy": 1}}', encoding="utf-8")
        return Speeds(1.0, 2.0, 3.0)

    monkeypatch.setattr(probe_module, "measure", measure)
    probe(CUDA, tmp_path)
    saved = json.loads((tmp_path / "speeds.json").read_text(encoding="utf-8"))
    assert list(saved) == ["another", f"a card, torch {torch.__version__}"]


@pytest.mark.parametrize("content", ["{", "[]", '{"a card": 1}', '{"a card": {"matmul": NaN, "attention": 1}}'])
def test_a_damaged_file_of_speeds_is_measured_again(monkeypatch, tmp_path, content):
    with_card(monkeypatch, 2**30, 2**30)
    (tmp_path / "speeds.json").write_text(content, encoding="utf-8")
    monkeypatch.setattr(probe_module, "measure", lambda device: Speeds(1.0, 2.0, 3.0))
    assert probe(CUDA, tmp_path).speeds == Speeds(1.0, 2.0, 3.0)


class OutOfResources(Exception):
    """As triton's, which has no other base."""


def test_what_triton_cannot_compute_here_is_not_used(monkeypatch, caplog):
    """As on a machine without a C compiler: a clip is made without it."""

    def failing(*arguments):
        raise OutOfResources

    monkeypatch.setattr(probe_module, "computes_int8", lambda device: True)
    monkeypatch.setattr(probe_module, "seconds_of", failing)
    assert probe_module._int8_rate(torch.device("cpu")) == 0.0
    monkeypatch.setattr(measured, "sage_version", lambda: "1.0.6")
    monkeypatch.setattr(measured, "_measured", failing)
    assert measured.measure_sage(CUDA, None) == ()
    monkeypatch.setattr(measured_fused, "has_kernels", lambda device: True)
    monkeypatch.setattr(measured_fused, "seconds_of", failing)
    assert measured_fused.measure_fused(torch.device("cpu")) == 0.0
    assert [line.partition(",")[0] for line in caplog.messages] == [
        "Computing in int8 is not used",
        "SageAttention is not used",
        "Fusing pointwise operations is not used",
    ]


def test_fused_operations_that_compute_something_else_are_not_used(monkeypatch):
    operations = measured_fused._Operations(torch.device("cpu"), 64)
    assert operations.are_right()
    monkeypatch.setattr(measured_fused, "gelu_rows", lambda rows, rounds: rows)
    assert not operations.are_right() and operations.speedup() == 0.0


def test_sizes_at_which_sage_gives_no_numbers_are_left_out(monkeypatch):
    """They could not be read back from the file of speeds, so that every clip would measure again."""
    monkeypatch.setattr(measured, "sage_version", lambda: "1.0.6")
    error = {128: 0.03, 64: float("nan")}
    monkeypatch.setattr(
        measured, "_measured", lambda device, exact, head, tokens: SageSpeed(head, tokens, 1.5, error[head])
    )
    assert {entry.head_size for entry in measured.measure_sage(CUDA, None)} == {128}
