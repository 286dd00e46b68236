"""Drafts that end early: when they do, and that a resumed one ends where one piece does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from PIL import Image

from tests.support import tiny
from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.clips.inputs.images import ingest
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.clips.receipt import Receipt
from wan_pipeline.engine import early_end as module
from wan_pipeline.engine.checkpoint import ResumeState
from wan_pipeline.engine.early_end import EarlyEnd, change_between
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.loading.load import Denoiser
from wan_pipeline.errors import Cancelled, RequestError
from wan_pipeline.models.registry import DEMO
from wan_pipeline.models.spec import Mode
from wan_pipeline.progress import Stage
from wan_pipeline.requests.limits import check_request
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.early_end import MAX_CHANGE, early_end_text, parse_early_end
from wan_pipeline.requests.sampling.step_cache import CacheKind
from wan_pipeline.settings import Settings

STEPS = 8
DRAFT = make_request(width=96, height=64, num_frames=5, num_inference_steps=STEPS, early_end=1.0)


@pytest.fixture
def denoiser() -> Denoiser:
    return cast(Denoiser, SimpleNamespace(expand_timesteps=True, boundary_ratio=None))


def clean(amount: float) -> torch.Tensor:
    """An estimate that is so far from that of 0, as a share of its norm."""
    return torch.tensor([1.0, amount / (1 - amount**2) ** 0.5]).view(1, 1, 2, 1, 1)


def ends(early: EarlyEnd, changes: list[float], levels: list[float] | None = None) -> list[int]:
    """The steps after which it would end, where each estimate is one of `changes` from that of 0."""
    levels = levels or [0.5] * len(changes)
    return [done for done, (change, level) in enumerate(zip(changes, levels, strict=True), 1)
            if early.ends(done, clean(change), level)]  # fmt: skip


def test_it_ends_where_the_clean_clip_settles_and_never_in_the_first_half() -> None:
    assert change_between(clean(0.0), clean(0.25)) == pytest.approx(0.25)
    assert ends(EarlyEnd(DRAFT, None, None), [0.0] * STEPS) == [4, 5, 6, 7]
    moving = [0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.49, 0.0]
    assert ends(EarlyEnd(DRAFT, None, None), moving) == [7]
    assert ends(EarlyEnd(replace(DRAFT, early_end=0.01), None, None), moving) == []


def test_a_clip_that_does_all_steps_has_none(denoiser: Denoiser) -> None:
    assert EarlyEnd.of(replace(DRAFT, early_end=0.0), denoiser, None) is None
    early = EarlyEnd.of(DRAFT, denoiser, None)
    assert early is not None and ends(early, [0.0] * STEPS) == [4, 5, 6, 7]


def test_of_two_experts_the_second_has_done_two_steps() -> None:
    levels = [1.0, 0.99, 0.98, 0.97, 0.9, 0.89, 0.8, 0.5]
    assert ends(EarlyEnd(DRAFT, 0.9, None), [0.0] * STEPS, levels) == [7]
    state = ResumeState(5, clean(0.0), {}, 0.0, clean(0.0), clean_is_below=False)
    early = EarlyEnd(DRAFT, 0.9, state)
    assert not early.ends(6, clean(0.0), 0.89) and early.ends(7, clean(0.0), 0.8)


def test_only_the_frames_that_the_clip_shows_and_the_model_makes_are_compared() -> None:
    for moving, steps in ((0, [4, 5, 6, 7]), (1, [])):
        early = EarlyEnd(DRAFT, None, None, first_frame=1)
        ended = []
        for done in range(1, STEPS + 1):
            frames = torch.ones(1, 4, 3, 2, 2)
            frames[:, :, moving] = (-1.0) ** done
            ended += [done] if early.ends(done, frames, 0.5) else []
        assert ended == steps and early.clean is frames


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Latent frames of each comparison."""
    seen: list[int] = []

    def compare(before: torch.Tensor, now: torch.Tensor) -> float:
        seen.append(now.shape[2])
        return change_between(before, now)

    monkeypatch.setattr(module, "change_between", compare)
    return seen


def pictures(settings: Settings) -> tuple[str, str]:
    made = []
    for shade in (30, 220):
        path = settings.workspace / f"{shade}.png"
        Image.new("RGB", (96, 64), (shade, 90, 140)).save(path)
        made.append(ingest(path, settings.inputs).sha256)
    return made[0], made[1]


def test_reference_images_are_not_compared(settings: Settings, compared: list[int]) -> None:
    tiny.write_vace(settings.models / "wan2.1-vace-1.3b")
    request = replace(DRAFT, model="wan2.1-vace-1.3b", num_frames=9, reference_images=pictures(settings))
    with Engine(settings) as engine:
        engine.render(request, Recorder())
    assert set(compared) == {3}


def test_a_first_image_that_replaces_its_frame_is_not_compared(settings: Settings, compared: list[int]) -> None:
    image = pictures(settings)[0]
    with Engine(settings) as engine:
        engine.render(replace(DRAFT, mode=Mode.IMAGE_TO_VIDEO, image=image, num_frames=9), Recorder())
        assert set(compared) == {2}
        compared.clear()
        engine.render(replace(DRAFT, num_frames=9), Recorder())
        assert set(compared) == {3}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, tiny_demo: Path) -> Engine:
    folder = tmp_path_factory.mktemp("early")
    settings = Settings(folder / "workspace", loras=folder, models=folder, demo_checkpoint=tiny_demo)
    settings.make_folders()
    return Engine(replace(settings, checkpoint_seconds=0.0))


@pytest.mark.soak
def test_stopped_at_any_step_it_ends_where_one_piece_does(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = engine.render(replace(DRAFT, early_end=0.0), Recorder())
    monkeypatch.setattr(module, "largest_change", lambda amount: 10.0 if amount else 0.0)
    whole = engine.render(DRAFT, Recorder())
    assert whole.ended_at == STEPS // 2 and whole.sha256 != plain.sha256 and plain.ended_at == 0
    for stage, stop, resumed_from in (
        (Stage.DENOISING, 1, 2),  # the step is saved, then it is asked whether to stop
        (Stage.DENOISING, 2, 3),
        (Stage.DENOISING, 3, STEPS // 2),  # it has ended
        (Stage.DECODING, 0, STEPS // 2),
    ):
        path = tmp_path / f"{stage}-{stop}.safetensors"
        with pytest.raises(Cancelled):
            engine.render(DRAFT, Recorder(stop_at=(stage, stop)), path)
        resumed = engine.render(DRAFT, Recorder(), path)
        assert (resumed.sha256, resumed.ended_at) == (whole.sha256, whole.ended_at)
        assert (resumed.resumed_from, resumed.warnings) == (resumed_from, ())


def test_request_and_receipt_say_it_where_there_is_one() -> None:
    assert GenerationRequest.from_dict(DRAFT.to_dict()) == DRAFT
    assert "early_end" not in replace(DRAFT, early_end=0.0).to_dict()
    for ended_at in (5, 0):
        told = Receipt(DRAFT, "ab" * 32, Provenance("demo"), ended_at=ended_at).to_dict()
        assert ("ended_at" in told) == bool(ended_at)
        assert Receipt.from_dict(told).ended_at == ended_at


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cache": CacheKind.FIRST_BLOCK}, "skipped steps look settled"),
        ({"num_inference_steps": 4}, "of 4 steps cannot end early"),
        ({"early_end": 1.5}, "Early end 1.5 is out of range"),
        ({"early_end": float("nan")}, "Early end"),
    ],
)
def test_what_would_end_nothing_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        check_request(replace(make_request(num_inference_steps=20, early_end=0.5), **changes), DEMO)


def test_the_scale_is_read_and_shown() -> None:
    assert [parse_early_end(text) for text in ("off", "Medium", "0,3", "none")] == [0.0, 0.5, 0.3, 0.0]
    assert [early_end_text(amount) for amount in (0.0, 0.25, 0.3)] == ["off", "light", "0.3"]
    assert module.largest_change(0.5) == MAX_CHANGE / 2
