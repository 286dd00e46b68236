"""Which variant a file is, told by its tensors. Facts of Practical-RIFE's models, as vs-rife has them."""

from __future__ import annotations

import pytest
import torch

from wan_pipeline.engine.interpolator.ifnet import Encoder, IFNet, Shape
from wan_pipeline.engine.interpolator.variants import for_use, ifnet_of, shape_of

FOUR, FIVE = (8, 4, 2, 1), (16, 8, 4, 2, 1)
USUAL, LITE = (192, 128, 96, 64), (128, 96, 64, 48)
PUBLISHED = {
    "4.5": (Shape(USUAL, FOUR, 5), 5_275_520),
    "4.6": (Shape(USUAL, FOUR, 6), 5_306_256),
    "4.7 to 4.9": (Shape(USUAL, FOUR, 6, 0, Encoder.SHORT, 16, 4), 5_325_012),
    "4.10 to 4.12": (Shape(USUAL, FOUR, 6, 0, Encoder.NUMBERED, 32, 8), 5_364_312),
    "4.12.lite, 4.13.lite": (Shape(LITE, FOUR, 6, 0, Encoder.NUMBERED, 32, 4), 2_631_804),
    "4.13 to 4.19, 4.24": (Shape(USUAL, FOUR, 6, 0, Encoder.NAMED, 32, 8), 5_364_312),
    "4.14.lite": (Shape(USUAL, FOUR, 6, 0, Encoder.NAMED, 32, 8, groups=2), 2_968_152),
    "4.15.lite to 4.17.lite": (Shape(LITE, FOUR, 6, 0, Encoder.NAMED, 16, 4), 2_616_476),
    "4.20": (Shape((384, 192, 96, 48), FOUR, 6, 0, Encoder.NAMED, 32, 8), 15_376_512),
    "4.21 to 4.23": (Shape((256, 192, 96, 48), FOUR, 13, 8, Encoder.NAMED, 32, 8), 9_322_416),
    "4.22.lite": (Shape((192, 128, 64, 32), FOUR, 13, 8, Encoder.NAMED, 16, 4), 4_866_052),
    "4.25, 4.26": (Shape((*USUAL, 32), FIVE, 13, 8, Encoder.NAMED, 16, 4), 5_664_776),
    "4.25.lite": (Shape((*USUAL, 24), (32, 16, 8, 4, 1), 13, 8, Encoder.NAMED, 16, 4), 5_622_700),
    "4.25.heavy": (Shape((384, 256, 192, 128, 64), FIVE, 13, 8, Encoder.NAMED, 16, 4), 21_663_528),
    "4.26.heavy": (Shape((*USUAL, 32), FIVE, 13, 8, Encoder.NAMED, 16, 16), 5_723_156),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_variant_is_known_by_its_tensors(name: str) -> None:
    shape, weights = PUBLISHED[name]
    with torch.device("meta"):
        tensors = IFNet(shape).state_dict()
    assert shape_of(tensors) == shape
    network = ifnet_of(tensors)
    assert network is not None and sum(weight.numel() for weight in network.parameters()) == weights


def test_multiples_are_those_of_the_coarsest_block() -> None:
    assert {PUBLISHED[name][0].multiple for name in ("4.6", "4.26.heavy", "4.25.lite")} == {32, 64, 128}


def test_what_only_training_needs_is_left_out() -> None:
    one = torch.zeros(1)
    published = {"module.block0.x": one, "module.teacher.x": one, "caltime.0.weight": one, "encode.cnn0.bias": one}
    assert set(for_use(published)) == {"block0.x", "encode.cnn0.bias"}
