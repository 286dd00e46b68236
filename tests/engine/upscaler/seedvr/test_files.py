"""A person's two files: found by what they hold, used to the last tensor, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.upscaler.seedvr.networks import write_folder
from wan_pipeline.engine.upscaler.clip import clip_upscaler
from wan_pipeline.engine.upscaler.files import BUNDLED, upscalers_in
from wan_pipeline.engine.upscaler.seedvr.files import TEXT, load_text, load_transformer, load_vae
from wan_pipeline.errors import ModelError
from wan_pipeline.settings import Settings

DIT, VAE = "seedvr2_ema_3b_fp16.safetensors", "ema_vae_fp16.safetensors"
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def test_its_text_is_here() -> None:
    assert load_text().shape == (58, 5120) and load_text().dtype == torch.bfloat16
    assert "Apache-2.0" in TEXT.with_name("LICENSE").read_text("utf-8")


def test_names_are_those_of_the_published_files_after_a_prefix(settings: Settings) -> None:
    write_folder(settings.upscalers / "plain")
    write_folder(settings.upscalers / "other", "model.diffusion_model.")
    other = settings.upscalers / "other"
    tensors = load_file(other / DIT)
    freqs = {f"model.diffusion_model.blocks.{number}.attn.rope.rope.freqs": torch.zeros(5) for number in range(3)}
    save_file({**tensors, **freqs}, other / DIT)
    tensors = {key: value for key, value in load_file(other / VAE).items() if "attentions" not in key}
    for key, value in load_file(other / VAE).items():
        for new, old in OLD.items():
            if f"attentions.0.{new}." in key:
                tensors[key.replace(f".{new}.", f".{old}.")] = value
        if "attentions.0.group_norm" in key:
            tensors[key] = value
    save_file(tensors, other / VAE)
    assert upscalers_in(settings.upscalers).names() == (BUNDLED, "other", "plain")
    for load in (load_transformer, load_vae):
        one, two = (load(settings.upscalers / name, torch.float32).state_dict() for name in ("plain", "other"))
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_folder_that_is_not_whole_is_refused(settings: Settings) -> None:
    folder = settings.upscalers / "seedvr2"
    write_folder(folder)
    dit, vae = load_file(folder / DIT), load_file(folder / VAE)

    def refused(words: str) -> None:
        with pytest.raises(ModelError, match=words):
            clip_upscaler(settings, 2, "seedvr2")

    def written(tensors: dict[str, torch.Tensor], name: str = DIT) -> Path:
        save_file(tensors, folder / name)
        return folder / name

    written({key: value for key, value in dit.items() if key != "vid_out.proj.bias"})
    refused(f"{DIT} is not whole .*vid_out.proj.bias")
    written({**dit, "extra.weight": torch.zeros(1)})
    refused(f"{DIT} is not whole .*extra.weight")
    written({**dit, "vid_out.proj.bias": torch.zeros(3)})
    refused(f"{DIT} is not whole .*vid_out.proj.bias")
    written({key.replace("proj_in_gate", "gate"): value for key, value in dit.items()})
    refused(f"{DIT} is not whole")
    written({key.replace("norm_q", "norm"): value for key, value in dit.items()})
    refused(f"{DIT} is a transformer of another kind.*use SeedVR2's 3B or 7B")
    written({**dit, "txt_in.weight": torch.zeros(32, 4096)})
    refused("takes texts of 4096 channels and not 5120")
    written(dit)
    written({**vae, "encoder.down_blocks.1.resnets.0.conv1.weight": torch.zeros(5, 5, 3, 3)}, VAE)
    refused(f"{VAE} is a VAE of another kind")
    (folder / VAE).unlink()
    refused("seedvr2 has no VAE of SeedVR2; put both of its files there")
    written(vae, VAE)
    written(dit, "again.safetensors")
    refused(f"2 files with a transformer: again.safetensors, {DIT}; keep one")
    (folder / "again.safetensors").write_bytes((folder / DIT).read_bytes()[:-7])
    refused("again.safetensors cannot be read")


def test_a_folder_without_weights_is_no_upscaler(settings: Settings) -> None:
    (settings.upscalers / "empty").mkdir(parents=True)
    (settings.upscalers / "empty" / "seedvr2_ema_3b.pth").write_bytes(b"PK")
    assert upscalers_in(settings.upscalers).names() == (BUNDLED,)
    with pytest.raises(ModelError, match="There is no upscaler 'empty'"):
        clip_upscaler(settings, 2, "empty")
