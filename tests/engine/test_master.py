"""Masters: kept latents, decoded again, are the clip's frames before rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.clips.export.bit_depth import eight_bits, rounded, sixteen_bits
from wan_pipeline.engine.decoding.latents import pack, unpack
from wan_pipeline.engine.decoding.master import decode_master
from wan_pipeline.engine.engine import Engine
from wan_pipeline.errors import Cancelled, GenerationError
from wan_pipeline.progress import SilentObserver, Stage

REQUEST = make_request(width=96, height=64, num_frames=9, styled_prompt="the red ball")


def master(settings, rendered, observer=None, threads=None) -> np.ndarray:
    pieces: list[np.ndarray] = []
    observer = observer or SilentObserver()
    decode_master(settings, rendered.provenance, rendered.latents, observer, pieces.append, threads)
    return np.concatenate(pieces)


@pytest.mark.parametrize("plan", ["", "resident,fp32,tile=64", "resident,fp32,vae=bf16"])
def test_a_master_rounds_to_the_clips_frames_bit_for_bit(settings, plan):
    with Engine(settings) as engine:
        rendered = engine.render(REQUEST, SilentObserver(), plan=plan)
    frames = master(settings, rendered)
    assert (eight_bits(frames) == rendered.frames).all()
    assert (rounded(sixteen_bits(frames)) == rendered.frames).all()
    assert len(np.unique(sixteen_bits(frames))) > len(np.unique(rendered.frames))


def test_also_of_a_clip_of_deterministic_mode(settings):
    with Engine(settings, deterministic=True, threads=1) as engine:
        rendered = engine.render(REQUEST, SilentObserver())
    assert (eight_bits(master(settings, rendered, threads=1)) == rendered.frames).all()


def test_decoding_is_told_and_can_be_cancelled(settings):
    with Engine(settings) as engine:
        rendered = engine.render(REQUEST, SilentObserver())
    observer = Recorder()
    master(settings, rendered, observer)
    assert [report.step for report in observer.of(Stage.DECODING)] == [0, 1, 2]
    with pytest.raises(Cancelled):
        master(settings, rendered, Recorder(stop_at=(Stage.DECODING, 1)))


def test_latents_are_kept_by_a_setting(settings):
    with Engine(replace(settings, keep_latents=False)) as engine:
        assert engine.render(REQUEST, SilentObserver()).latents is None


def test_packed_latents_keep_their_bits_and_nothing_else_is_read():
    latents = torch.randn(1, 16, 3, 4, 6)
    assert torch.equal(unpack(pack(latents)), latents)
    for content in (b"", b"GIF89a", pack(latents)[:-4], pack(latents[0]), pack(latents / 0)):
        with pytest.raises(GenerationError):
            unpack(content)
