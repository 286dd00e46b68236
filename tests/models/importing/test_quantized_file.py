"""Files in 8 bits and files for everything become models of the same output."""

from __future__ import annotations

import re
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
from wan_pipeline.errors import ModelError
from wan_pipeline.models.importing.floats import bf16_bytes, decode
from wan_pipeline.models.importing.source import TIED
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


def halved(folder: Path, part: str) -> dict[str, torch.Tensor]:
    """The tensors of another component, changed, so that they are told from those of the base."""
    return {
        name: value / 2 for path in (folder / part).glob("*.safetensors") for name, value in load_file(path).items()
    }


@pytest.mark.parametrize(
    "names", [("vae.", "text_encoders.umt5xxl.transformer."), ("first_stage_model.", "cond_stage_model.")]
)
def test_20_a_file_for_everything_gives_all_that_it_holds(settings, models, base, tmp_path, names):
    transformer = {f"model.diffusion_model.{name}": value for name, value in scaled(weights(base)).items()}
    held = {part: halved(base, part) for part in ("vae", "text_encoder")}
    beside = {
        prefix + name: value for prefix, part in zip(names, held, strict=True) for name, value in held[part].items()
    }
    beside[f"{names[1]}spiece_model"] = torch.zeros(9, dtype=torch.uint8)
    save_file(transformer | beside, tmp_path / "all.safetensors")
    told: list[str] = []
    folder = models.import_files([tmp_path / "all.safetensors"], BASE, Watcher(), "mine", warn=told.append).folder
    assert told == [] and difference(output(folder), output(base)) < 0.04
    for part, wanted in held.items():
        (path,) = (folder / part).glob("*.safetensors")
        got = load_file(path)
        assert got.keys() == wanted.keys() and all(torch.equal(got[name], wanted[name]) for name in wanted)
    with Engine(settings) as engine:
        request = make_request(model="mine", width=64, height=64, num_frames=5, num_inference_steps=1)
        assert engine.render(request, Recorder()).sha256


def test_a_table_by_its_other_name_has_its_scale(models, base, tmp_path):
    held = halved(base, "text_encoder")
    (name,) = held.keys() & set(TIED)
    table = held.pop(name).float()
    (other,) = set(TIED) - {name}
    scale = table.abs().max() / 448
    beside = {other: (table / scale).to(E4M3), f"{other.removesuffix('.weight')}.scale_weight": scale, **held}
    save_file(
        {f"model.diffusion_model.{key}": value for key, value in scaled(weights(base)).items()}
        | {f"text_encoders.umt5xxl.transformer.{key}": value for key, value in beside.items()},
        tmp_path / "all.safetensors",
    )
    told: list[str] = []
    folder = models.import_files([tmp_path / "all.safetensors"], BASE, Watcher(), warn=told.append).folder
    (path,) = (folder / "text_encoder").glob("*.safetensors")
    assert told == [] and torch.equal(load_file(path)[name], (beside[other].float() * scale).to(torch.bfloat16))


def test_20_what_a_file_for_everything_holds_of_another_model_is_told(models, base, tmp_path):
    transformer = {f"model.diffusion_model.{name}": value for name, value in scaled(weights(base)).items()}
    other = {f"vae.{name}": value[:1] for name, value in halved(base, "vae").items()}
    save_file(transformer | other, tmp_path / "all.safetensors")
    told: list[str] = []
    folder = models.import_files([tmp_path / "all.safetensors"], BASE, Watcher(), warn=told.append).folder
    assert len(told) == 1 and told[0].startswith(
        "The vae is that of Wan 2.1 Text to video 14B: that in all.safetensors"
    )
    for path in (base / "vae").iterdir():
        assert (folder / "vae" / path.name).read_bytes() == path.read_bytes()


AUTHORS_VAE = (
    (r"(en|de)coder\.mid_block\.resnets\.0", r"\1coder.middle.0"),
    (r"(en|de)coder\.mid_block\.attentions\.0", r"\1coder.middle.1"),
    (r"(en|de)coder\.mid_block\.resnets\.1", r"\1coder.middle.2"),
    (r"(en|de)coder\.conv_in\.", r"\1coder.conv1."),
    (r"(en|de)coder\.norm_out\.", r"\1coder.head.0."),
    (r"(en|de)coder\.conv_out\.", r"\1coder.head.2."),
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"encoder\.down_blocks\.", "encoder.downsamples."),
    (r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda found: f"decoder.upsamples.{4 * int(found[1]) + 3}"),
    (
        r"decoder\.up_blocks\.(\d)\.resnets\.(\d)",
        lambda found: f"decoder.upsamples.{4 * int(found[1]) + int(found[2])}",
    ),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.norm1\.", ".residual.0."),
    (r"\.conv1\.(?=weight|bias)(?<=\d\.conv1\.)", ".residual.2."),
    (r"\.norm2\.", ".residual.3."),
    (r"\.conv2\.", ".residual.6."),
)
"""diffusers' names -> the authors', of the 8x VAE."""


def test_20_a_vae_in_the_authors_names_is_taken(models, base, tmp_path):
    held = halved(base, "vae")
    named = {}
    for name, value in held.items():
        new = name
        for ours, theirs in AUTHORS_VAE:
            new = re.sub(ours, theirs, new)
        named[f"vae.{new}"] = value
    assert "vae.decoder.middle.0.residual.0.gamma" in named and len(named) == len(held)
    transformer = {f"model.diffusion_model.{name}": value for name, value in scaled(weights(base)).items()}
    save_file(transformer | named, tmp_path / "all.safetensors")
    told: list[str] = []
    folder = models.import_files([tmp_path / "all.safetensors"], BASE, Watcher(), warn=told.append).folder
    (path,) = (folder / "vae").glob("*.safetensors")
    got = load_file(path)
    assert told == [] and all(torch.equal(got[name], value) for name, value in held.items())


def test_20_a_folder_of_the_authors_shards_is_taken_in(settings, models, base, tmp_path):
    plain = {authors_name(name): value for name, value in weights(base).items()}
    folder = tmp_path / "Wan2.1-T2V-14B"
    folder.mkdir()
    (folder / "config.json").write_text('{"_class_name": "WanModel"}')
    (folder / "Wan2.1_VAE.pth").write_bytes(b"never opened")
    for number in range(3):
        part = {name: value for place, (name, value) in enumerate(plain.items()) if place % 3 == number}
        save_file(part, folder / f"diffusion_pytorch_model-{number + 1:05}-of-00003.safetensors")
    entry = models.import_files([folder], BASE, Watcher(), "mine")
    got = weights(entry.folder)
    assert entry.spec.title == folder.name
    assert all(torch.equal(got[name], value) for name, value in weights(base).items())
    (folder / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match=r"Wan2\.1-T2V-14B lacks \d+ tensors of Wan 2\.1 Text to video 14B"):
        models.import_files([folder], BASE, Watcher(), "cut")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"holds no \.safetensors files"):
        models.import_files([tmp_path / "empty"], BASE, Watcher(), "no")


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
