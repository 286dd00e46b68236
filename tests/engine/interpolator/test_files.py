"""Files of people: what is loaded, and what is refused in one sentence."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from tests.engine.interpolator.networks import TINY, TINY_NEW, random_network
from wan_pipeline.engine.interpolator.files import MOTION, interpolators_in
from wan_pipeline.engine.interpolator.frames import frame_interpolator
from wan_pipeline.engine.interpolator.network import load_interpolator
from wan_pipeline.errors import ModelError
from wan_pipeline.settings import Settings

CPU = torch.device("cpu")


def load(settings: Settings, name: str) -> None:
    file = interpolators_in(settings.interpolators).find(name)
    assert file is not None
    frame_interpolator(settings, file)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_networks_of_files_are_read(settings: Settings, dtype: torch.dtype) -> None:
    settings.interpolators.mkdir()
    frames = torch.rand(2, 1, 3, 64, 64)
    for name, shape in (("rife-4.6", TINY), ("rife-4.26", TINY_NEW)):
        network = random_network(shape).to(dtype)
        wrapped = {f"module.{key}": value for key, value in network.state_dict().items()}
        save_file(wrapped | {"module.teacher.x": torch.zeros(1)}, settings.interpolators / f"{name}.safetensors")
        file = interpolators_in(settings.interpolators).find(name)
        assert file is not None
        with torch.inference_mode():
            made = load_interpolator(CPU, file)(*frames, 0.25)
            assert made.dtype == torch.float32 and torch.equal(made, network.float()(*frames, 0.25).clamp(0, 1))
    assert interpolators_in(settings.interpolators).names() == (MOTION, "rife-4.26", "rife-4.6")


def test_ffmpeg_needs_no_file(settings: Settings) -> None:
    assert interpolators_in(settings.interpolators).names() == (MOTION,)
    assert interpolators_in(settings.interpolators).find("") is None
    assert interpolators_in(settings.interpolators).find(MOTION) is None


def test_files_that_are_no_network_are_refused(settings: Settings) -> None:
    folder = settings.interpolators
    folder.mkdir()
    (folder / "flownet.pkl").write_bytes(b"PK")
    (folder / "cut.safetensors").write_bytes(b"12")
    whole = dict(random_network().state_dict())
    name = "block3.lastconv.0.bias"
    for stem, tensors in {
        "other": {"model.0.weight": torch.zeros(1)},
        "nan": {**whole, name: torch.full((24,), torch.nan)},
        "half": {key: value for key, value in whole.items() if key != name},
        "more": {**whole, "block3.extra": torch.zeros(1)},
        "wrong": {**whole, name: torch.zeros(20)},
    }.items():
        save_file(tensors, folder / f"{stem}.safetensors")
    for stem, words in (
        ("flownet", "flownet is a pickle.*as docs/handover.md shows"),
        ("flownet.pkl", "is a pickle"),
        ("cut", "cannot be read"),
        ("../interpolators/cut", "There is no interpolator.*choose one of: ffmpeg minterpolate"),
        ("nothing", "choose one of"),
        ("other", "holds no network that is known here; use an IFNet of RIFE 4.5 to 4.26"),
        ("nan", "no numbers"),
        ("half", "is not whole"),
        ("more", "is not whole"),
        ("wrong", "is not whole"),
    ):
        with pytest.raises(ModelError, match=words):
            load(settings, stem)


def test_names_and_shapes_of_a_file_are_not_trusted(settings: Settings) -> None:
    settings.interpolators.mkdir()
    whole, one = dict(random_network().state_dict()), torch.zeros(1)
    first, kernel = "block0.conv0.1.0.weight", torch.zeros(4, 2, 3, 3)
    files = {
        "older": {name: value for name, value in whole.items() if "beta" not in name},
        "endless": {**whole, **{f"block{number}.conv0.1.0.weight": kernel.clone() for number in range(4, 200)}},
        "deep": {**whole, **{f"block0.convblock.{number}.beta": one.clone() for number in range(8, 200)}},
        "flat": {**whole, first: one},
        "point": {**whole, "block0.lastconv.0.weight": torch.tensor(1.0)},
        "wide": {**whole, first: torch.zeros(100_000, 2, 1, 1)},
        "thin": {**whole, "block3.conv0.1.0.weight": torch.zeros(1, 2, 3, 3)},
        "grouped": {**whole, "block0.convblock.0.conv.weight": torch.zeros(4, 1, 3, 3)},
        "seen otherwise": {**whole, "encode.layer.weight": kernel},
    }
    for name, tensors in files.items():
        save_file(tensors, settings.interpolators / f"{name}.safetensors")
        with pytest.raises(ModelError, match="holds no network that is known here"):
            load(settings, name)
    save_file({**whole, "block7.conv0.1.0.weight": kernel}, settings.interpolators / "gap.safetensors")
    with pytest.raises(ModelError, match="is not whole"):
        load(settings, "gap")
