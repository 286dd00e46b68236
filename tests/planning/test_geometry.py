"""What of a request decides memory and time."""

from __future__ import annotations

import pytest

from tests.support.requests import make_request
from wan_pipeline.models import registry
from wan_pipeline.models.registry import DEMO, WAN21_VACE_14B
from wan_pipeline.models.spec import Mode
from wan_pipeline.planning.geometry import Geometry
from wan_pipeline.requests.own_clip import own_request
from wan_pipeline.requests.sampling.step_cache import CacheKind


def test_the_geometry_of_a_request():
    plain = Geometry.of(make_request(num_inference_steps=10), DEMO)
    assert plain == Geometry(320, 192, 33, 20, encodes=False, guided_steps=10)
    assert plain.pixels == 320 * 192 and plain.video_pixels == 320 * 192 * 33 and plain.tokens(DEMO) == 10 * 6 * 9
    assert Geometry.of(make_request(guidance_scale=1.0, num_inference_steps=10), DEMO).passes == 10
    assert Geometry.of(make_request(image="a"), DEMO).encodes
    assert Geometry.of(make_request(first_block_cache=0.1), DEMO).cache is CacheKind.FIRST_BLOCK


@pytest.mark.parametrize("given", [{}, {"control_video": "a"}, {"reference_images": ("a",)}])
def test_vace_encodes_a_video_even_if_none_is_given(given):
    assert Geometry.of(make_request(model=WAN21_VACE_14B.id, **given), WAN21_VACE_14B).encodes


def test_a_reference_image_is_a_latent_frame_more():
    plain, two = (
        Geometry.of(make_request(model=WAN21_VACE_14B.id, reference_images=images), WAN21_VACE_14B)
        for images in ((), ("a", "b"))
    )
    assert (plain.tokens(WAN21_VACE_14B), two.tokens(WAN21_VACE_14B)) == (9 * 20 * 12, 11 * 20 * 12)
    assert plain.video_pixels == two.video_pixels  # they are not decoded


@pytest.mark.parametrize("model", registry.MODELS)
def test_the_own_clip_of_a_model_has_the_models_settings(model):
    spec = registry.find(model)
    clip = Geometry.of(own_request(spec), spec)
    assert (clip.width, clip.height, clip.num_frames) == (spec.sizes[0].width, spec.sizes[0].height, spec.num_frames)
    assert clip.passes == 2 * spec.num_inference_steps
    assert clip.encodes == (spec.modes == {Mode.IMAGE_TO_VIDEO} or spec.takes_control)
