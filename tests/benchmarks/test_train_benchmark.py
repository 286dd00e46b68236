"""The training benchmark's cases run on a CPU, on models of three layers: what needs a GPU are their numbers alone."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu.bench import Bench
from benchmarks.train import I2V_14B, PROGRAM, table
from benchmarks.train_rows import CLIP, SHORT_CLIP, prepared_of
from wan_pipeline.models.registry import WAN21_I2V_480P
from wan_pipeline.trainer.factors import Factors
from wan_pipeline.trainer.memory.forecast import Work, factor_count


@pytest.mark.parametrize(
    ("case", "rows"),
    [
        ("i2v_14b", ["1 x 512 px x 5", "1 x 512 px x 33"]),
        ("ema_14b", ["1 x 512 px x 33, EMA"]),
        ("given_5b", ["1 x 512 px x 33, first frame given"]),
    ],
)
def test_a_case_gives_its_rows_with_what_was_forecast(case, rows, tmp_path):
    result = PROGRAM.run_case(case, tiny=True, rounds=1, folder=tmp_path)
    assert [row for row, values in result.items() if isinstance(values, dict)] == rows
    for row in rows:
        assert "error" not in result[row]
        assert result[row]["seconds"] > 0 < result[row]["forecast_seconds"]
        assert result[row]["forecast_gib"] > 0


def test_the_table_has_seconds_and_memory_as_shares_of_the_forecast():
    row = {"seconds": 1.1, "gib": 6.0, "cap": 7.2, "forecast_gib": 5.0, "forecast_seconds": 1.0}
    lines = table({"i2v_14b": {"clip": row, "device": "cpu"}, "ema_14b": {"error": "RuntimeError: no"}}).splitlines()
    assert lines[2] == "| i2v_14b | clip | 1.1 | 1.10 | 6.0 | 1.20 | 7.2 |"
    assert "RuntimeError: no" in lines[3]
    assert {line.count("|") for line in lines[:4]} == {8}
    assert lines[-1] == "Not within 10 % of the forecast: i2v_14b clip (memory 1.20)."


def test_image_to_video_is_given_what_its_transformer_reads(tmp_path):
    """Its channels, those of the noise, are those of the latents, the mask and the given image's latents."""
    bench = Bench(tiny=True, rounds=1, folder=tmp_path)
    prepared = prepared_of(bench, I2V_14B, SHORT_CLIP)
    given = prepared.given_batch([0])
    beside, image = given.beside, given.image
    assert beside is not None
    assert image is not None
    shape = bench.shape(I2V_14B)
    assert shape["in_channels"] == prepared.latents[0].shape[0] + beside.shape[1]
    assert image.shape == (1, 257, shape["image_dim"])
    assert WAN21_I2V_480P.memory.reads_images
    assert prepared_of(bench, bench.facts(I2V_14B), CLIP).first_frames


def test_the_forecast_counts_every_factor_of_image_to_video(tmp_path):
    bench = Bench(tiny=True, rounds=1, folder=tmp_path)
    with torch.device("meta"):
        from diffusers import WanTransformer3DModel

        transformer = WanTransformer3DModel(**bench.shape(I2V_14B))
    factors = Factors(transformer, 4, 4, torch.Generator(), torch.device("cpu"))
    counted = factor_count(Work(bench.facts(I2V_14B), tokens=1, examples=1, rank=4, text_tokens=1))
    assert counted == sum(factor.numel() for factor in factors.parameters())
