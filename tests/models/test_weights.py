"""Safetensors headers: whole files read, everything else refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.hostile import BAD_JSON
from wan_pipeline.models.weights import DamagedFileError, TensorInfo, read_header


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}, path, metadata={"made": "here"})
    return path


def write(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def test_reads_names_types_shapes_and_metadata(whole):
    header = read_header(whole)
    assert header.tensors == {"a": TensorInfo("F32", (2, 3)), "b": TensorInfo("BF16", (4,))}
    assert header.metadata == {"made": "here"}


@pytest.mark.parametrize("keep", [0, 4, 8, 40, -1])
def test_a_file_cut_anywhere_is_damaged(whole, keep):
    whole.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(DamagedFileError):
        read_header(whole)


def test_a_file_with_something_behind_is_damaged(whole):
    whole.write_bytes(whole.read_bytes() + b"more")
    with pytest.raises(DamagedFileError, match="bytes where its header describes"):
        read_header(whole)


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"not json", b""),
        (b"[" * 100_000, b""),
        ([1, 2], b""),
        ({"a": ENTRY | {"dtype": "PICKLE"}}, b"1234"),
        ({"a": ENTRY | {"shape": [2]}}, b"1234"),
        ({"a": ENTRY | {"shape": [-1]}}, b"1234"),
        ({"a": ENTRY | {"shape": ["1"]}}, b"1234"),
        ({"a": ENTRY | {"data_offsets": [4, 0]}}, b"1234"),
        ({"a": ENTRY | {"data_offsets": [0, 2**70]}}, b"1234"),
        ({"a": ENTRY | {"shape": [2**40], "data_offsets": [0, 2**42]}}, b"1234"),
        ({"a": {"dtype": "F32"}}, b""),
        ({"a": None}, b""),
        ({"a": ENTRY | {"shape": [True]}}, b"1234"),
        ({"a": ENTRY | {"shape": [1.0]}}, b"1234"),
        ({"a": ENTRY | {"data_offsets": [False, 4]}}, b"1234"),
        ({"a": ENTRY | {"data_offsets": [0, 4, 4]}}, b"1234"),
        ({"a": ENTRY | {"shape": [10**400]}}, b"1234"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1e400]}}', b"1234"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, NaN]}}', b"1234"),
        (b'{"\\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"1234"),
        (b'{"a": {"dtype": "F32", "shape": ' + b"[" * 900 + b"]" * 900 + b"}}", b"1234"),
        ({"a": ENTRY, "__metadata__": ["made"]}, b"1234"),
        ({"a": ENTRY, "__metadata__": {"made": 1}}, b"1234"),
        ({"a": ENTRY, "__metadata__": {"made": {"by": "me"}}}, b"1234"),
    ],
)
def test_impossible_descriptions_are_damaged(tmp_path, header, data):
    with pytest.raises(DamagedFileError):
        read_header(write(tmp_path / "bad.safetensors", header, data))


def test_a_header_over_the_cap_is_refused_unread(tmp_path):
    path = write(tmp_path / "big.safetensors", b" " * 2000)
    with pytest.raises(DamagedFileError, match="2,000 bytes, more than the 1,000 allowed"):
        read_header(path, max_bytes=1000)


def test_too_many_tensors_are_refused(tmp_path):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path = write(tmp_path / "many.safetensors", {str(number): empty for number in range(11)})
    with pytest.raises(DamagedFileError, match="11 tensors"):
        read_header(path, max_tensors=10)


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_hostile_header_is_damaged(tmp_path, text):
    with pytest.raises(DamagedFileError):
        read_header(write(tmp_path / "bad.safetensors", text))


def test_what_is_said_of_a_bad_tensor_is_short(tmp_path):
    for entry in ({"dtype": "F32"}, ENTRY | {"shape": [2]}):
        with pytest.raises(DamagedFileError) as caught:
            read_header(write(tmp_path / "bad.safetensors", {"a" * 10**6: entry}, b"1234"))
        assert len(str(caught.value)) < 300
