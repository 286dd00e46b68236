"""The network: where it looks frames up, at which moment, and how it mixes them."""

from __future__ import annotations

import pytest
import torch

from tests.engine.interpolator.networks import TINY, TINY_NEW, moving_network, random_network, set_mask, silent_network
from wan_pipeline.engine.interpolator.ifnet import IFNet, Shape
from wan_pipeline.engine.interpolator.network import Interpolator
from wan_pipeline.engine.interpolator.warp import warp

HEIGHT, WIDTH, MARGIN = 128, 192, 48
MOTION = (8, -4)


def scene(moment: float) -> torch.Tensor:
    """A part of a large picture of noise, which moves by MOTION, whole pixels at each quarter."""
    large = torch.rand((1, 3, HEIGHT + 40, WIDTH + 40), generator=torch.Generator().manual_seed(5))
    left, top = (round(20 - pixels * moment) for pixels in MOTION)
    return large[:, :, top : top + HEIGHT, left : left + WIDTH]


def inner(frame: torch.Tensor) -> torch.Tensor:
    """Without the edges, where what came in from outside is unknown and convolutions see zeros."""
    return frame[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


def test_a_frame_is_looked_up_where_the_flow_points() -> None:
    picture = torch.arange(20.0).view(1, 1, 4, 5)
    right = torch.stack((torch.ones(4, 5), torch.zeros(4, 5)))[None]
    assert torch.allclose(warp(picture, right)[..., :-1], picture[..., 1:], atol=1e-5)
    assert torch.allclose(warp(picture, right)[..., -1], picture[..., -1], atol=1e-5)  # the edge goes on
    down = torch.stack((torch.zeros(4, 5), torch.full((4, 5), 0.5)))[None]
    halves = (picture[:, :, :-1] + picture[:, :, 1:]) / 2
    assert torch.allclose(warp(picture, down)[:, :, :-1], halves, atol=1e-5)


@pytest.mark.parametrize(("shape", "block"), [(TINY, 0), (TINY, 2), (TINY, 3), (TINY_NEW, 1), (TINY_NEW, 4)])
@pytest.mark.parametrize("moment", [0.25, 0.5, 0.75])
def test_a_known_motion_gives_the_frame_of_its_moment(shape: Shape, block: int, moment: float) -> None:
    """Fails if a flow's sign, axis, scale or frame is wrong, or the moment is not where the network reads it."""
    network = moving_network(MOTION, shape, block)
    with torch.inference_mode():
        made = network(scene(0), scene(1), moment)
    assert torch.allclose(inner(made), inner(scene(moment)), atol=1e-3)
    assert not torch.allclose(inner(made), inner(scene(moment + 0.25)), atol=0.1)


def test_flows_of_several_blocks_add_up() -> None:
    network = moving_network((4, -2), TINY, 1)
    half = moving_network((4, -2), TINY, 3)
    network.load_state_dict(network.state_dict() | {k: v for k, v in half.state_dict().items() if "block3" in k})
    with torch.inference_mode():
        assert torch.allclose(inner(network(scene(0), scene(1), 0.5)), inner(scene(0.5)), atol=1e-3)


def test_the_mask_says_whose_pixels_are_taken() -> None:
    one, other = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    for shape, expected in ((TINY, 0.5), (TINY_NEW, 1.0)):  # until 4.6 blocks add to the mask, later the last decides
        network = silent_network(shape)
        with torch.inference_mode():
            assert torch.allclose(network(one, other, 0.3), torch.tensor(0.5))
            set_mask(network, 0, 20.0)
            set_mask(network, len(shape.widths) - 1, -20.0)
            assert torch.allclose(network(one, other, 0.3), torch.tensor(expected))


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (64, 64), (65, 33)])
def test_frames_of_any_size(size: tuple[int, int]) -> None:
    for shape in (TINY, TINY_NEW):
        frames = torch.rand(2, 1, 3, *size)
        with torch.inference_mode():
            made = Interpolator(random_network(shape))(*frames, 0.5)
        assert made.shape == (1, 3, *size) and 0 <= float(made.min()) <= float(made.max()) <= 1


def test_its_tensors_have_the_names_of_published_files() -> None:
    old, new = (set(IFNet(shape).state_dict()) for shape in (TINY, TINY_NEW))
    assert len(old) == 4 * 30 and len(new) == 5 * 30 + 8
    for name in ("block0.conv0.0.0.weight", "block3.conv0.1.0.bias", "block2.convblock.7.conv.weight"):
        assert name in old and name in new
    assert {"block0.convblock.0.beta", "block0.lastconv.0.bias", "encode.cnn0.weight", "encode.cnn3.bias"} <= new
