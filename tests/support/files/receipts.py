"""Receipts for tests: good ones of each version, and what somebody may have made of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.requests import make_request

FOLDER = Path(__file__).parents[2] / "clips" / "receipts"


def stored_receipt(version: int) -> dict[str, Any]:
    """As a release of that version wrote it."""
    data: dict[str, Any] = json.loads((FOLDER / f"version{version}.json").read_text(encoding="utf-8"))
    return data


def make_receipt(**changes: Any) -> dict[str, Any]:
    """A good receipt; a key whose value is ... is left out."""
    receipt = {
        "receipt": 2,
        "made_with": "Wan Studio 0.1.0",
        "made_at": "2026-01-02T12:00:00+00:00",
        "job": "0" * 32,
        "request": make_request().to_dict(),
        "frames_sha256": "f" * 64,
        "provenance": {"model": "demo"},
        "seconds": {"denoising": 2.0, "decoding": 0.5},
        "warnings": [],
    }
    return {key: value for key, value in (receipt | changes).items() if value is not ...}


def with_request(**changes: Any) -> dict[str, Any]:
    """A receipt whose request has other values."""
    request = make_request().to_dict() | changes
    return make_receipt(request={key: value for key, value in request.items() if value is not ...})


def _text(receipt: dict[str, Any], old: str = "", new: str = "") -> bytes:
    text = json.dumps(receipt)
    assert old in text
    return text.replace(old, new).encode()


HOSTILE_RECEIPTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not JSON"),
    "cut": (_text(make_receipt())[:-20], "is not JSON"),
    "no text": (b"\xff\xfe\xfd", "is not JSON"),
    "null": (b"null", "Input should be an object"),
    "list": (b"[]", "Input should be an object"),
    "number": (b"1" * 5000, "is not JSON"),
    "empty object": (b"{}", "'request' is missing"),
    "nested list": (b"[" * 100_000, "nested too deeply"),
    "nested object": (b'{"request":' * 20_000, "nested too deeply"),
    "nested seconds": (_text(make_receipt(seconds="@"), '"@"', "[" * 500 + "]" * 500), "nested too deeply"),
    "large": (_text(make_receipt(warnings=["x" * 2**20])), "is larger than 1 MB"),
    "half a surrogate pair": (_text(with_request(prompt="\ud800 a")), "'request.prompt' holds a lone surrogate"),
    "surrogate in a key": (_text(make_receipt(encoder={"\udfff": "a"})), "'encoder' holds a lone surrogate"),
    "surrogate in the project": (_text(make_receipt(project="\udc00")), "'project' holds a lone surrogate"),
    "surrogate in an unused key": (_text(make_receipt(note="\udc00")), "'note' holds a lone surrogate"),
    "seconds NaN": (_text(make_receipt(seconds={"denoising": float("nan")})), "'seconds.denoising' is nan"),
    "seconds infinite": (_text(make_receipt(seconds={"a": float("inf")})), "'seconds.a' is inf"),
    "seconds huge": (_text(make_receipt(seconds={"a": 1e308, "b": 1e308})), "'seconds.a' = 1e+308"),
    "seconds negative": (_text(make_receipt(seconds={"a": -1})), "'seconds.a' = -1"),
    "seconds text": (_text(make_receipt(seconds={"a": "long"})), "'seconds.a' = 'long'"),
    "seconds list": (_text(make_receipt(seconds=[1])), "'seconds': Input should be"),
    "frames 1e400": (_text(with_request(num_frames=12345), "12345", "1e400"), "'request.num_frames' is inf"),
    "frames 1e5": (_text(with_request(num_frames=12345), "12345", "1e5"), "'request.num_frames' = 100000.0"),
    "frames 10**30": (_text(with_request(num_frames=10**30)), "'request.num_frames' = 1000"),
    "frames of 5000 digits": (_text(with_request(num_frames=12345), "12345", "9" * 5000), "is not JSON"),
    "fps 0": (_text(with_request(fps=0)), "'request.fps' = 0"),
    "fps true": (_text(with_request(fps=True)), "'request.fps' = True"),
    "width 0": (_text(with_request(width=0)), "'request.width' = 0"),
    "height negative": (_text(with_request(height=-192)), "'request.height' = -192"),
    "width 2**63": (_text(with_request(width=2**63)), "'request.width' = 9223372036854775808"),
    "seed text": (_text(with_request(seed="1")), "'request.seed' = '1'"),
    "seed missing": (_text(with_request(seed=...)), "'request.seed' is missing"),
    "unknown setting": (_text(with_request(shutter=180)), "'request.shutter' is not a known key"),
    "prompt number": (_text(with_request(prompt=3)), "'request.prompt' = 3"),
    "prompt long": (_text(with_request(prompt="x" * 50_000)), "'request.prompt' = 'xxx"),
    "LoRA number": (_text(with_request(loras=[{"name": 1}])), "'request.loras.0.name' = 1"),
    "LoRA weight": (_text(with_request(loras=[{"name": "a", "weight": 1e300}])), "'request.loras.0.weight' = 1e+300"),
    "mode": (_text(with_request(mode="mime")), "'request.mode' = 'mime'"),
    "request list": (_text(make_receipt(request=["prompt"])), "'request': Input should be"),
    "request null": (_text(make_receipt(request=None)), "'request' = None"),
    "made in year 1": (_text(make_receipt(made_at="0001-01-01T00:00:00+00:00")), "not within 1970 to 2999"),
    "made in year 1, far east": (_text(make_receipt(made_at="0001-01-01T00:00:00+14:00")), "not within 1970 to 2999"),
    "made in year 9999": (_text(make_receipt(made_at="9999-12-31T23:59:59-14:00")), "not within 1970 to 2999"),
    "made at noon": (_text(make_receipt(made_at="noon")), "'made_at' = 'noon': it is not an ISO 8601 time"),
    "made at a number": (_text(make_receipt(made_at=1e9)), "'made_at' = 1000000000.0: it is not text"),
    "made never": (_text(make_receipt(made_at=...)), "'made_at' is missing"),
    "frames' hash a path": (_text(make_receipt(frames_sha256="../../etc/passwd")), "'frames_sha256' = '../../etc"),
    "no frames' hash": (_text(make_receipt(frames_sha256=...)), "'frames_sha256' is missing"),
    "later version": (_text(make_receipt(receipt=3)), "has version 3, and this studio knows 2; update"),
    "version text": (_text(make_receipt(receipt="x")), "'receipt' = 'x'"),
    "version negative": (_text(make_receipt(receipt=-1)), "'receipt' = -1"),
    "job a path": (_text(make_receipt(job="../../job")), "'job' = '../../job'"),
    "job HTML": (_text(make_receipt(job='"><script>')), "'job' = "),
    "attempt true": (_text(make_receipt(attempt=True)), "'attempt' = True"),
    "attempt huge": (_text(make_receipt(attempt=10**30)), "'attempt' = 1000"),
    "memory text": (_text(make_receipt(peak_memory_mb="much")), "'peak_memory_mb' = 'much'"),
    "memory huge": (_text(make_receipt(peak_memory_mb=1e300)), "'peak_memory_mb' = 1e+300"),
    "passes negative": (_text(make_receipt(passes={"asked": -1, "computed": 0})), "'passes.asked' = -1"),
    "warnings text": (_text(make_receipt(warnings="one")), "'warnings' = 'one'"),
    "warnings numbers": (_text(make_receipt(warnings=[1])), "'warnings.0' = 1"),
    "provenance list": (_text(make_receipt(provenance=[1])), "'provenance': Input should be"),
    "provenance numbers": (
        _text(make_receipt(provenance={"model_files": {"a": 1}})),
        "'provenance.model_files.a' = 1",
    ),
    "environment list": (_text(make_receipt(receipt=1, environment=[1])), "'environment': Input should be"),
    "environment numbers": (
        _text(make_receipt(receipt=1, environment={"torch": 2})),
        "'provenance.environment.torch' = 2",
    ),
}
"""Bytes of a receipt that must be refused, and what is said of each."""

EXTREME_RECEIPTS: dict[str, dict[str, Any]] = {
    "largest": with_request(
        width=16_384,
        height=16_384,
        num_frames=100_000,
        fps=120,
        seed=2**32 - 1,
        num_inference_steps=200,
        guidance_scale=30,
        guidance_scale_2=30,
        flow_shift=30,
        first_block_cache=0.5,
        loras=[{"name": "x" * 255, "weight": 4}] * 100,
        reference_images=["x" * 255] * 4,
        prompt="x" * 20_000,
        model="x" * 255,
    ),
    "smallest": with_request(
        width=1, height=1, num_frames=1, fps=1, seed=0, num_inference_steps=1, guidance_scale=0, flow_shift=0.1
    ),
    "no texts": with_request(prompt="", styled_prompt="", model="", preset="", quantization=""),
    "texts of all kinds": with_request(
        prompt="<b>\0\x1b[31m\u202e\u2028 {prompt} ${x} {{{x}}}", preset="../../natural"
    ),
    "names that are paths": with_request(
        model="../../demo",
        image="../../photo",
        last_image="/etc/passwd",
        control_video="C:\\video",
        control_mask="",
        reference_images=["..", "."],
        loras=[{"name": "../../glow"}],
        quantization="fp3",
    ),
    "the first moment": make_receipt(made_at="1970-01-01T00:00:00+00:00", seconds={}, warnings=["\0"]),
    "the last moment": make_receipt(made_at="2999-12-31T00:00:00+00:00", seconds={"a": 1e9, "b": 1e9}),
    "a step cache": make_receipt(passes={"asked": 20, "computed": 12}),
    "naive": make_receipt(made_at="2026-01-01", project="x" * 20_000, job=""),
}
"""Receipts that are read, and hold what no clip of ours has."""
