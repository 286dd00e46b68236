"""Which variant of IFNet a file holds, told by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from wan_pipeline.engine.interpolator.ifnet import Encoder, IFNet, Shape
from wan_pipeline.engine.network_files.shapes import MOST_LAYERS, count_layers, kernel_shape

SCALES = {4: (8, 4, 2, 1), 5: (16, 8, 4, 2, 1)}
"""By the number of blocks."""
LITE_SCALES, LITE_WIDTH = (32, 16, 8, 4, 1), 24
"""Those of 4.25.lite, which only the width of its last block tells from 4.25 and 4.26."""
CARRIED = {5: 0, 6: 0, 13: 8}
"""By a block's outputs, how many the next block is given: of 4.5, of 4.6 to 4.20, and of 4.21 on."""
NOT_FOR_USE = ("teacher.", "caltime.", "block_tea.", "contextnet.", "unet.")
"""Parts that only training needs, which published files hold too."""
WRAPPER = "module."
"""What training on several GPUs puts before each name."""


def for_use(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors by their bare names, without those that only training needs."""
    bare = {name.removeprefix(WRAPPER): value for name, value in tensors.items()}
    return {name: value for name, value in bare.items() if not name.startswith(NOT_FOR_USE)}


def ifnet_of(tensors: Mapping[str, torch.Tensor]) -> IFNet | None:
    """The network that tensors may fit, on the meta device; None if they are of another kind."""
    shape = shape_of(tensors)
    if shape is None:
        return None
    with torch.device("meta"):
        return IFNet(shape)


def shape_of(tensors: Mapping[str, torch.Tensor]) -> Shape | None:
    """What the tensors' names and shapes tell; None if no published variant has them."""
    count = count_layers(tensors, "block{}.conv0.1.0.weight")
    widths = tuple(kernel_shape(tensors, f"block{number}.conv0.1.0.weight")[0] for number in range(min(count, 6)))
    outputs = kernel_shape(tensors, "block0.lastconv.0.weight")[1] // 4
    depth = count_layers(tensors, "block0.convblock.{}.beta")
    groups = _groups(tensors)
    if count not in SCALES or outputs not in CARRIED or not groups or not 0 < depth <= MOST_LAYERS:
        return None
    if any(width < 2 or width % groups for width in widths):
        return None
    scales = LITE_SCALES if count == len(LITE_SCALES) and widths[-1] == LITE_WIDTH else SCALES[count]
    encoder, width, features = _encoder(tensors)
    if encoder is Encoder.NONE and any(name.startswith("encode.") for name in tensors):
        return None
    return Shape(widths, scales, outputs, CARRIED[outputs], encoder, width, features, groups, depth)


def _groups(tensors: Mapping[str, torch.Tensor]) -> int:
    """1, or 2 as in 4.14.lite; 0 if it is neither."""
    width, inputs = kernel_shape(tensors, "block0.convblock.0.conv.weight")
    return next((groups for groups in (1, 2) if width and width == inputs * groups), 0)


def _encoder(tensors: Mapping[str, torch.Tensor]) -> tuple[Encoder, int, int]:
    """The encoder's kind, its channels, and those that it gives."""
    for kind in (Encoder.NAMED, Encoder.NUMBERED, Encoder.SHORT):
        names = [f"encode.{name}.weight" for name in kind.value]
        (width, _), (_, features) = (kernel_shape(tensors, name) for name in (names[0], names[-1]))
        if width and features and all(name in tensors for name in names):
            return kind, width, features
    return Encoder.NONE, 0, 0
