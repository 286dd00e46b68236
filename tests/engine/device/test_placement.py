"""Placement: the device of the settings, or of the machine, and one sentence for a device that is not there."""

from __future__ import annotations

import pytest
import torch

from wan_pipeline.engine.device.placement import choose_device, choose_placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import UserError
from wan_pipeline.settings import DEVICE_VARIABLE, Settings


@pytest.fixture(params=[None, "cuda", "mps"])
def accelerator(request, monkeypatch) -> str | None:
    """What torch finds in this machine."""
    found = None if request.param is None else torch.device(request.param)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    return request.param


def test_without_a_setting_it_is_the_accelerator_where_there_is_one(accelerator):
    assert choose_device().type == (accelerator or "cpu")
    assert choose_placement().dtype is (torch.bfloat16 if accelerator else torch.float32)


def test_the_cpu_computes_if_asked_whatever_there_is(accelerator):
    place = choose_placement("cpu")
    assert (place.device.type, place.dtype, place.on_cpu) == ("cpu", torch.float32, True)


def test_a_device_that_is_there_is_taken_and_an_absent_one_is_a_sentence(accelerator):
    for setting in ("cuda", "mps", "xpu"):
        if setting == accelerator:
            assert choose_device(setting).type == setting
        else:
            others = f"cpu or {accelerator}" if accelerator else "cpu"
            with pytest.raises(
                UserError, match=rf"no {setting} device that torch can use; set {DEVICE_VARIABLE} to {others}, or"
            ):
                choose_device(setting)


def test_the_setting_is_read_from_the_environment_once(monkeypatch, settings):
    monkeypatch.setenv(DEVICE_VARIABLE, "mps")
    assert Settings().device == "mps" and Settings(device="cpu").device == "cpu"
    assert settings.device == "cpu"
    monkeypatch.delenv(DEVICE_VARIABLE)
    assert Settings().device == ""


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:1", "x" * 500])
def test_an_unknown_device_is_a_sentence(monkeypatch, device):
    monkeypatch.setenv(DEVICE_VARIABLE, device)
    with pytest.raises(
        UserError, match=f"{DEVICE_VARIABLE} is '{device[:80]}', .* use cpu, cuda, xpu, mps, or leave it"
    ):
        Settings()


def test_an_engine_refuses_an_absent_device_before_it_loads_anything(settings):
    if torch.accelerator.is_available():
        pytest.skip("this machine has an accelerator")
    with pytest.raises(UserError, match="This machine has no cuda device"):
        Engine(Settings(settings.workspace, demo_checkpoint=settings.demo_checkpoint, device="cuda"))
