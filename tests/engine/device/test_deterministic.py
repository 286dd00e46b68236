"""Deterministic mode: sets what it says, records it, and leaves nothing set."""

from __future__ import annotations

import os

import pytest
import torch

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.device.deterministic import CUBLAS, deterministic
from wan_pipeline.engine.device.environment import torch_settings
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import GenerationError

CUDA = torch.device("cuda")
"""Torch's settings for it can be read without having one."""


def small(**changes):
    return make_request(**{"width": 96, "height": 64, "num_frames": 9, "num_inference_steps": 2} | changes)


def test_within_the_block_all_is_set_and_after_it_as_before():
    before, threads, variable = torch_settings(CUDA), torch.get_num_threads(), os.environ.get(CUBLAS)
    with deterministic(threads + 1):
        now = torch_settings(CUDA)
        assert (now["strict"], now["tf32"], now["attention"]) == ("yes", "no", "sdpa (flash, math)")
        assert now["threads"] == str(threads + 1) and os.environ[CUBLAS] == ":4096:8"
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert torch_settings(CUDA) == before and before["strict"] == "no"
    assert (torch.get_num_threads(), os.environ.get(CUBLAS)) == (threads, variable)


def test_it_is_undone_after_an_error():
    before = torch_settings(CUDA)
    with pytest.raises(RuntimeError, match="in it"), deterministic(None):
        raise RuntimeError("in it")
    assert torch_settings(CUDA) == before


def test_an_operation_without_a_deterministic_form_is_a_sentence():
    with (
        pytest.raises(GenerationError, match="Deterministic mode is not possible here: put_ has no deterministic form"),
        deterministic(None),
    ):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]), accumulate=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_deterministic_clip_says_so_and_is_made_again_by_another_engine(settings, threads):
    clips = []
    for _ in range(2):
        with Engine(settings, deterministic=True, threads=threads) as engine:
            clips.append(engine.render(small(), Recorder()))
    assert clips[0].sha256 == clips[1].sha256
    assert clips[0].provenance == clips[1].provenance
    environment = clips[0].provenance.environment
    assert (environment["strict"], environment["threads"]) == ("yes", str(threads))
    assert torch_settings(CUDA)["strict"] == "no"


def test_texts_of_a_deterministic_engine_are_its_own(settings):
    for mode in (True, False):
        with Engine(settings, deterministic=mode) as engine:
            engine.encode_texts([small()])
    assert len(list((settings.cache / "prompts").iterdir())) == 4
