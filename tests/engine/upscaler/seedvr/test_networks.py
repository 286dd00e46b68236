"""The networks give what the authors' code gives; `reference.json` says how its numbers were made."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.upscaler.seedvr.networks import TINY, WIDTHS, clip, filled, numbers
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.upscaler.seedvr import vae as vaes
from wan_pipeline.engine.upscaler.seedvr.transformer import PUBLISHED, Kind, Transformer, shape_of
from wan_pipeline.engine.upscaler.seedvr.vae import SCALE, Vae, widths_of


@pytest.fixture(scope="module")
def reference() -> Any:
    return json.loads(Path(__file__).with_name("reference.json").read_text("utf-8"))


@pytest.mark.parametrize("size", [(1, 6, 8), (5, 18, 26), (33, 4, 10)])
@pytest.mark.parametrize("kind", Kind)
def test_the_transformer_is_the_authors(reference: Any, kind: Kind, size: tuple[int, int, int]) -> None:
    network = Transformer(TINY[kind])
    filled(network)
    blocks: list[int] = []
    with torch.inference_mode():
        made = network(clip(*size, 33), clip(1, 1, 7, 40, seed=2)[0, 0], lambda: blocks.append(1))
    assert made.shape == (*size, 16) and len(blocks) == TINY[kind].layers
    assert numbers(made) == pytest.approx(reference[kind.value]["x".join(map(str, size))], abs=1e-4)


def test_the_vae_is_the_authors(reference: Any) -> None:
    network = Vae(WIDTHS)
    filled(network)
    frames = clip(13, 40, 24, 3).clamp(-1, 1).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        encoded = network.encode([frames[:, :, :1], *torch.split(frames[:, :, 1:], 4, 2)])
        latents = clip(4, 5, 6, 16).permute(3, 0, 1, 2)[None]
        decoded = torch.cat(list(network.decode(latents * SCALE)), 2)
    assert numbers(encoded / SCALE) == pytest.approx(reference["encoded"], abs=1e-4)
    assert numbers(decoded) == pytest.approx(reference["decoded"], abs=1e-4)


def test_its_published_sizes_have_the_authors_names(reference: Any) -> None:
    with torch.device("meta"):
        networks: dict[str, Transformer | Vae] = {kind.value: Transformer(shape) for kind, shape in PUBLISHED.items()}
        networks["vae"] = Vae(vaes.PUBLISHED)
    counts = {name: sum(part.numel() for part in network.parameters()) for name, network in networks.items()}
    assert counts == {"3B": 3_391_475_776, "7B": 8_239_607_872, "vae": 250_648_227}
    shapes = {
        name: {key: tuple(value.shape) for key, value in network.state_dict().items()}
        for name, network in networks.items()
    }
    lines = {name: sorted(f"{key} {list(shape)}" for key, shape in found.items()) for name, found in shapes.items()}
    assert {name: sha256("\n".join(each).encode()).hexdigest() for name, each in lines.items()} == reference["names"]
    assert {kind: shape_of(shapes[kind.value]) for kind in Kind} == PUBLISHED
    assert widths_of(shapes["vae"]) == vaes.PUBLISHED


def test_streamed_blocks_give_the_same_bits() -> None:
    network = Transformer(TINY[Kind.SMALL])
    filled(network)
    latents, text = clip(2, 4, 6, 33), clip(1, 1, 7, 40, seed=2)[0, 0]
    with torch.inference_mode():
        resident = network(latents, text, lambda: None)
        with streaming([StreamedModel(network)], torch.device("cpu")) as stream:
            streamed = [network(latents, text, lambda: None) for _ in range(2)]
    assert all(torch.equal(resident, each) for each in streamed) and stream.prefetch_misses == 1
