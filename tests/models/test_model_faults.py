"""Damaged models in the queue: each job ends in one sentence, whatever the memory plan, and the next one is made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import tiny
from tests.support.soak import first_only
from tests.support.studios import QUICK
from wan_pipeline.errors import ModelError
from wan_pipeline.jobs.job import Job, JobState
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

MODEL = "wan2.2-t2v-a14b"
OWN = replace(QUICK, model=MODEL, width=128, height=128)
PLANS = ["", "streamed,fp32", "streamed,int8"]


@pytest.fixture
def folder(settings: Settings) -> Path:
    return tiny.write_experts_text(settings.models / MODEL)


def weights(folder: Path, component: str) -> Path:
    return next((folder / component).glob("*.safetensors"))


def cut(folder: Path) -> None:
    path = weights(folder, "transformer_2")
    path.write_bytes(path.read_bytes()[:-10])


def without_a_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


def without_a_tensor(folder: Path) -> None:
    path = weights(folder, "transformer")
    tensors = load_file(path)
    del tensors["blocks.1.ffn.net.2.bias"]
    save_file(tensors, path, metadata={"format": "pt"})


def another_size(folder: Path) -> None:
    _change(folder / "transformer_2" / "config.json", ffn_dim=128)


def disagreeing(folder: Path) -> None:
    _change(folder / "transformer" / "config.json", text_dim=64)


def another_architecture(folder: Path) -> None:
    _change(folder / "model_index.json", _class_name="HunyuanVideoPipeline")


def _change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def spoilt(component: str, name: str, value: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = weights(folder, component)
        tensors = load_file(path)
        (tensors[name] if value == 0 else tensors[name].view(-1)[:1])[:] = value
        save_file(tensors, path, metadata={"format": "pt"})

    return spoil


def run_both(settings: Settings, studio: Studio, damage: Callable[[Path], None], folder: Path) -> tuple[Job, Job]:
    """A job whose model is damaged while it waits, and the one after it, as the same worker leaves them."""
    ids = studio.submit_many([OWN, QUICK])
    damage(folder)
    Worker(settings).run()
    bad, good = (studio.jobs.job(job_id) for job_id in ids)
    assert bad is not None and good is not None
    return bad, good


@pytest.mark.parametrize("plan", first_only(PLANS))
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, r"transformer_2.*it has [\d,]+ bytes where its header describes"),
        (without_a_shard, r"diffusion_pytorch_model-00001-of-00002\.safetensors: it is missing"),
        (without_a_tensor, r"blocks\.1\.ffn\.net\.2\.bias"),
        (another_size, "transformer_2.*blocks"),
        (disagreeing, "the transformer reads texts of width 64 and the encoder's is 32; its parts are of different"),
        (another_architecture, "is a HunyuanVideoPipeline; this version runs WanPipeline, "),
        (
            spoilt("transformer", "patch_embedding.weight", torch.nan),
            r"transformer: its patch_embedding\.weight are not",
        ),
        (
            spoilt("transformer_2", "patch_embedding.weight", 0),
            r"transformer_2: its patch_embedding\.weight are all zero",
        ),
        (
            spoilt("transformer", "condition_embedder.text_embedder.linear_1.weight", torch.inf),
            r"its condition_embedder\.text_embedder\.linear_1\.weight are not numbers",
        ),
        (spoilt("vae", "decoder.conv_in.weight", torch.nan), r"vae: its decoder\.conv_in\.weight are not numbers"),
        (spoilt("text_encoder", "shared.weight", 0), "its word embeddings are all zero"),
        (spoilt("transformer", "blocks.0.attn1.to_q.weight", torch.nan), "weights are damaged"),
    ],
)
def test_a_damaged_model_is_a_sentence_and_the_next_job_runs(settings, folder, plan, damage, words):
    settings = replace(settings, plan=plan)
    with Studio(settings) as studio:
        bad, good = run_both(settings, studio, damage, folder)
        assert bad.state is JobState.FAILED and re.search(words, bad.error or ""), bad.error
        assert "\n" not in (bad.error or "") and "Traceback" not in (bad.error or "")
        assert (good.state, good.error) == (JobState.DONE, None)


def test_what_the_files_tell_is_said_before_the_queue(settings, folder):
    without_a_shard(folder)
    with Studio(settings) as studio:
        with pytest.raises(ModelError, match="it is missing; put the model's files there again"):
            studio.submit(OWN)
        assert studio.jobs.recent() == [] and studio.submit(QUICK)
