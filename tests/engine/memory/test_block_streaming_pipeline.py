"""Streaming under the real pipelines: the same latents, bit for bit, with one expert or two."""

from __future__ import annotations

import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline

from tests.engine.memory.test_block_streaming import CPU, make
from tests.support.soak import first_only
from tests.support.tiny import vae_8x
from wan_pipeline.engine.memory.block_streaming import StreamedModel, streaming
from wan_pipeline.engine.memory.chunked_forward import chunked
from wan_pipeline.models.precision import Precision


def pipeline(experts):
    """`make` gives transformers of 48 channels; the VAE is only asked for its sizes."""
    made = WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=vae_8x(48),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        transformer=experts[0],
        transformer_2=experts[1] if len(experts) > 1 else None,
        boundary_ratio=0.875 if len(experts) > 1 else None,
    )
    made.set_progress_bar_config(disable=True)
    return made


def latents(pipe):
    texts = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(0))
    return pipe(
        prompt_embeds=texts[:1],
        negative_prompt_embeds=texts[1:],
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=6,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(1),
        output_type="latent",
    ).frames


@pytest.mark.parametrize("precision", first_only([Precision.INT8, Precision.BF16]))
@pytest.mark.parametrize("experts", first_only([2, 1]))
@pytest.mark.parametrize("resident", [0, 2])
def test_streamed_latents_are_resident_latents(precision, experts, resident):
    models = [make(precision, seed) for seed in range(experts)]
    pipe = pipeline(models)
    wanted = latents(pipe)
    streamed = [StreamedModel(model) for model in models]
    for part in streamed:
        part.move_to_host_memory(pinned=False)
    with streaming(streamed, CPU, resident) as stream:
        assert latents(pipe).equal(wanted)
        assert stream.prefetch_misses == experts  # the first block of each, and no other
    assert latents(pipe).equal(wanted)
    if experts == 2:
        assert not latents(pipeline(models[:1])).equal(wanted)


def test_chunked_latents_are_nearly_the_same():
    models = [make(Precision.INT8, seed) for seed in range(2)]
    pipe = pipeline(models)
    wanted = latents(pipe)
    with streaming([StreamedModel(model) for model in models], CPU), chunked(models[0], 7), chunked(models[1], 7):
        assert latents(pipe).allclose(wanted, atol=1e-3)
