"""The kernels of pointwise operations compute what plain torch does, at the models' widths and at odd ones."""

from __future__ import annotations

import pytest
import torch

from tests.gpu.bench import Bench
from wan_pipeline.engine.fused.pointwise import add_rows, gelu_rows, has_kernels, norm_rows, rms_rows, round_rows
from wan_pipeline.engine.int8.rounded import Rounded

pytestmark = pytest.mark.gpu

ROWS, HEAD = 37, 8
WIDTHS = [48, 1536, 5120, 13824, 16384]


@pytest.fixture(params=[torch.bfloat16, torch.float32])
def dtype(bench: Bench, request: pytest.FixtureRequest) -> torch.dtype:
    if not has_kernels(bench.place.device):
        pytest.skip("needs triton and a GPU of NVIDIA or ROCm")
    return request.param


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(dtype)


def index() -> torch.Tensor:
    return (torch.arange(ROWS) % 3).int()


def check(made: torch.Tensor | Rounded, wanted: torch.Tensor | Rounded) -> None:
    """Equal but for the last bit of the dtype, or one step of int8."""
    if isinstance(made, Rounded):
        assert isinstance(wanted, Rounded)
        apart = (made.values.cpu().int() - wanted.values.int()).abs()
        assert apart.max() <= 1 and apart.float().mean() < 0.01
        assert made.scales.cpu().allclose(wanted.scales, rtol=1e-5)
        return
    step = 2.0**-7 if made.dtype is torch.bfloat16 else 1e-5
    assert isinstance(wanted, torch.Tensor)
    assert made.cpu().float().allclose(wanted.float(), rtol=step, atol=step)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rounds", [False, True])
def test_norm_and_modulation(bench: Bench, dtype: torch.dtype, width: int, rounds: bool):
    six = random(3, 6, width)  # tables whose rows lie apart, as those of a block do
    parts = (random(ROWS, width, dtype=dtype), six[:, 1], six[:, 4], index())
    wanted = norm_rows(*parts, 1e-6, rounds=rounds)
    device = bench.place.device
    six, moved = six.to(device), [part.to(device) for part in parts]
    check(norm_rows(moved[0], six[:, 1], six[:, 4], moved[3], 1e-6, rounds=rounds), wanted)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("turns", [False, True])
def test_rms_norm_and_rotary_embedding(bench: Bench, dtype: torch.dtype, width: int, turns: bool):
    norm, rows = torch.nn.RMSNorm(width, eps=1e-6), random(2 * ROWS, width, dtype=dtype)
    norm.weight.data = random(width)
    rotary = tuple(random(1, ROWS, 1, HEAD // 2).repeat_interleave(2, -1) for _ in range(2)) if turns else None
    device = bench.place.device
    made, there = rows.to(device), tuple(part.to(device) for part in rotary) if rotary else None
    with torch.inference_mode():
        rms_rows(rows, norm, rotary, width // HEAD)
        rms_rows(made, norm.to(device, dtype), there, width // HEAD)
    bound = 0.05 if dtype is torch.bfloat16 else 1e-4  # the weight is rounded too
    assert (made.cpu().float() - rows.float()).abs().max() < bound * rows.float().abs().max()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rounds", [False, True])
def test_gelu(bench: Bench, dtype: torch.dtype, width: int, rounds: bool):
    rows = 3 * random(ROWS, width, dtype=dtype)
    check(gelu_rows(rows.to(bench.place.device), rounds=rounds), gelu_rows(rows, rounds=rounds))


@pytest.mark.parametrize("width", WIDTHS)
def test_rounding(bench: Bench, dtype: torch.dtype, width: int):
    rows = random(ROWS, width, dtype=dtype)
    check(round_rows(rows.to(bench.place.device)), round_rows(rows))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("gated", [False, True])
def test_gate_and_sum(bench: Bench, dtype: torch.dtype, width: int, gated: bool):
    rows, update, gate = random(ROWS, width, dtype=dtype), random(ROWS, width, dtype=dtype), random(3, 2, width)
    device = bench.place.device
    made, there = rows.to(device), gate.to(device)
    add_rows(made, update.to(device), there[:, 1] if gated else None, index().to(device))
    add_rows(rows, update, gate[:, 1] if gated else None, index())
    check(made, rows)
