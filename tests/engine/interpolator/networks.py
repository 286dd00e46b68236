"""IFNets for tests: tiny ones of the real architecture, and one whose flow is known."""

from __future__ import annotations

import torch

from wan_pipeline.engine.interpolator.ifnet import COLORS, Encoder, IFNet, Shape

TINY = Shape((4, 4, 4, 4), (8, 4, 2, 1), 6)
"""As 4.6."""
TINY_NEW = Shape((4, 4, 4, 4, 4), (16, 8, 4, 2, 1), 13, 8, Encoder.NAMED, 4, 2)
"""As 4.26."""


def random_network(shape: Shape = TINY, seed: int = 0) -> IFNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return IFNet(shape).eval()


def silent_network(shape: Shape = TINY) -> IFNet:
    """All weights are 0: no flow, and both frames in equal parts."""
    network = IFNet(shape).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    return network


def moving_network(motion: tuple[float, float], shape: Shape, block: int) -> IFNet:
    """One block reads the moment and gives the flow of a scene that moves by so many pixels to the right and down."""
    network = silent_network(shape)
    part, moment = network.get_submodule(f"block{block}"), 2 * (COLORS + shape.features)
    scale, first = shape.scales[block], 0
    with torch.no_grad():
        part.conv0[0][0].weight[0, moment, 1, 1] = 1
        part.conv0[1][0].weight[0, first, 1, 1] = 1
        for channel, (pixels, constant) in enumerate((m, c) for c in (0, 1) for m in motion):
            parts = slice(4 * channel, 4 * channel + 4)  # a pixel shuffle makes one channel of these
            part.lastconv[0].weight[0, parts] = -pixels / scale / 4  # four taps meet in each pixel
            part.lastconv[0].bias[parts] = constant * pixels / scale
    return network


def set_mask(network: IFNet, block: int, value: float) -> None:
    with torch.no_grad():
        network.get_submodule(f"block{block}").lastconv[0].bias[16:20] = value
