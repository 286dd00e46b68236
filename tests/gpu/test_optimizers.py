"""bitsandbytes' AdamW in eight bits on the accelerator, where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.gpu.bench import Bench
from tests.support.optimizers import assert_goes_on_to_the_same_bits
from wan_pipeline.models.memory import WAN_14B
from wan_pipeline.trainer.optimizers import check_computes
from wan_pipeline.trainer.recipe import load_recipe

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_its_state_goes_on_to_the_same_bits(bench: Bench, dtype: torch.dtype, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    device = bench.place.device
    recipe = load_recipe("style", WAN_14B, optimizer="adamw8bit", learning_rate=1e-2)
    check_computes(recipe, device)
    saved = assert_goes_on_to_the_same_bits(recipe, device, dtype, tmp_path)
    assert saved["large.state1"].dtype is torch.uint8
