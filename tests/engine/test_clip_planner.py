"""What the stored hardware says of a second device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wan_pipeline.engine.clip_planner import ClipPlanner
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.device.probe import probe
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.planning.hardware import load_hardware, save_hardware
from wan_pipeline.planning.machine import GIB
from wan_pipeline.settings import Settings

PLACE = Placement(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("has_second", "is_same_card", "told"),
    [
        (True, True, 78 * GIB),  # another worker has it now
        (False, True, 0),  # the card is gone, or is of another kind than the first
        (True, False, 0),  # both were replaced
    ],
)
def test_a_second_device_is_told_only_as_long_as_it_is_there(
    settings: Settings, has_second: bool, is_same_card: bool, told: int
) -> None:
    here = probe(PLACE.device)
    stored = here if is_same_card else replace(here, name="another card")
    save_hardware(replace(stored, second_free=78 * GIB), settings.cache)
    two = replace(settings, devices="0,1")
    planner = ClipPlanner(two, LoraLibrary.of(two), PLACE, has_second=has_second, deterministic=False)
    planner.machine(0)
    found = load_hardware(settings.cache)
    assert found is not None and found.second_free == told
