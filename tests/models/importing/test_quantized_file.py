"""Issue 11, number 20: files in 8 bits and files for everything become models of the same output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from tests.models.importing.test_single_file import authors_name
from tests.support import tiny
from tests.support.observers import Recorder, Watcher
from tests.support.requests import make_request
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models.importing.floats import bf16_bytes, decode
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager

CASE = Path(__file__).parent / "fp8_scaled_comfy.safetensors"
"""Of shared/cases/single-file-fp8-scaled: random weights for `tiny.write_wan21_text`."""
BASE = "wan2.1-t2v-14b"
E4M3 = torch.float8_e4m3fn


@pytest.fixture
def base(settings) -> Path:
    return tiny.write_wan21_text(settings.models / BASE)


@pytest.fixture
def models(settings) -> ModelManager:
    return ModelManager(settings, ModelLibrary(settings))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = (folder / "transformer").glob("*.safetensors")
    return load_file(path)


def is_layer(name: str, value: torch.Tensor) -> bool:
    return name.startswith("blocks.") and name.endswith(".weight") and value.ndim == 2


def scaled(tensors: dict[str, torch.Tensor], ending: str = ".scale_weight", by_row: bool = False):
    """The tensors as programs that compute in scaled fp8 save them, by the authors' names."""
    made = {"scaled_fp8": torch.zeros(0, dtype=E4M3)}
    for name, value in tensors.items():
        new = authors_name(name)
        if is_layer(name, value):
            most = value.float().abs().amax(dim=1, keepdim=True) if by_row else value.float().abs().max()
            scale = most / 448
            made[new] = (value.float() / scale).to(E4M3)
            made[new.removesuffix(".weight") + ending] = scale
        else:
            made[new] = value.to(torch.bfloat16)
    return made


def output(folder: Path) -> torch.Tensor:
    """What the transformer makes of the same random input."""
    model = WanTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32).eval()
    draw = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 16, 2, 8, 8, generator=draw), torch.randn(1, 7, 32, generator=draw)
    with torch.no_grad():
        return model(latents, torch.tensor([500]), text, return_dict=False)[0]


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("ending", [".scale_weight", ".weight_scale"])
def test_20_scaled_fp8_gives_the_output_of_the_plain_weights(models, base, tmp_path, ending, by_row):
    plain = weights(base)
    tensors = scaled(plain, ending, by_row) | {"blocks.0.self_attn.q.scale_input": torch.ones(1)}
    save_file(tensors, tmp_path / "a.safetensors")
    folder = models.import_files([tmp_path / "a.safetensors"], BASE, Watcher()).folder
    got = weights(folder)
    for name, value in got.items():
        if is_layer(name, plain[name]):
            assert value.dtype is torch.bfloat16
            assert difference(value.float(), plain[name].float()) < 0.04, "rounding to 3 bits of mantissa"
    assert difference(output(folder), output(base)) < 0.04


def test_20_each_number_is_that_of_the_reference(models, base, tmp_path):
    """torch's own product, rounded to BF16, bit for bit."""
    tensors = scaled(weights(base))
    save_file(tensors, tmp_path / "a.safetensors")
    got = weights(models.import_files([tmp_path / "a.safetensors"], BASE, Watcher()).folder)
    for name, value in got.items():
        stored, scale = tensors[authors_name(name)], tensors.get(authors_name(name)[: -len("weight")] + "scale_weight")
        wanted = stored if scale is None else (stored.float() * scale).to(torch.bfloat16)
        assert torch.equal(value, wanted), name


def test_20_the_file_of_a_person_is_taken_in_and_makes_a_clip(settings, models, base):
    entry = models.import_files([CASE], BASE, Watcher(), "mine")
    stored = load_file(CASE)
    name = "blocks.0.self_attn.q"
    wanted = (stored[f"{name}.weight"].float() * stored[f"{name}.scale_weight"]).to(torch.bfloat16)
    assert torch.equal(weights(entry.folder)["blocks.0.attn1.to_q.weight"], wanted)
    with Engine(settings) as engine:
        request = make_request(model="mine", width=64, height=64, num_frames=5, num_inference_steps=1)
        assert engine.render(request, Recorder()).sha256


def test_20_plain_fp8_is_cast(models, base, tmp_path):
    plain = {authors_name(name): value.to(E4M3) for name, value in weights(base).items()}
    save_file(plain, tmp_path / "a.safetensors")
    got = weights(models.import_files([tmp_path / "a.safetensors"], BASE, Watcher()).folder)
    assert all(torch.equal(value, plain[authors_name(name)].to(torch.bfloat16)) for name, value in got.items())


def test_20_a_marker_alone_changes_nothing(models, base, tmp_path):
    plain = {authors_name(name): value.to(torch.bfloat16) for name, value in weights(base).items()}
    save_file(plain | {"scaled_fp8": torch.zeros(2, dtype=E4M3)}, tmp_path / "a.safetensors")
    got = weights(models.import_files([tmp_path / "a.safetensors"], BASE, Watcher()).folder)
    assert all(torch.equal(value, plain[authors_name(name)]) for name, value in got.items())


@pytest.mark.parametrize(
    "names", [("vae.", "text_encoders.umt5xxl.transformer."), ("first_stage_model.", "cond_stage_model.")]
)
def test_20_of_a_file_for_everything_the_transformer_is_taken(settings, models, base, tmp_path, names):
    transformer = {f"model.diffusion_model.{name}": value for name, value in scaled(weights(base)).items()}
    beside = {
        prefix + name: value
        for prefix, part in zip(names, ("vae", "text_encoder"), strict=True)
        for path in (base / part).glob("*.safetensors")
        for name, value in load_file(path).items()
    }
    save_file(transformer | beside, tmp_path / "all.safetensors")
    folder = models.import_files([tmp_path / "all.safetensors"], BASE, Watcher()).folder
    assert difference(output(folder), output(base)) < 0.04
    for part in ("vae", "text_encoder"):
        for path in (base / part).iterdir():
            assert (folder / part / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("dtype", "name"), [(E4M3, "F8_E4M3"), (torch.float8_e5m2, "F8_E5M2")])
def test_20_every_byte_of_fp8_has_torchs_value(dtype, name):
    codes = torch.arange(256, dtype=torch.uint8)
    assert np.array_equal(decode(codes.numpy().tobytes(), name), codes.view(dtype).float().numpy(), equal_nan=True)


def test_20_bf16_is_rounded_as_torch_rounds():
    draw = torch.Generator().manual_seed(2)
    values = torch.cat([torch.randn(4096, generator=draw), torch.tensor([0.0, -0.0, 1e38, float("inf"), float("nan")])])
    got = torch.frombuffer(bytearray(bf16_bytes(values.numpy())), dtype=torch.bfloat16)
    assert torch.equal(got.nan_to_num(7), values.to(torch.bfloat16).nan_to_num(7))
    for kind, stored in (("BF16", got), ("F16", values.half()), ("F32", values)):
        data = stored.view(torch.uint8).numpy().tobytes()
        assert np.array_equal(decode(data, kind), stored.float().numpy(), equal_nan=True)
