"""Hashes of large files: correct, computed once, and again when the file changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from wan_pipeline.errors import Cancelled
from wan_pipeline.storage.hashes import CHUNK_BYTES, FileHashes


def test_the_hash_is_of_the_bytes_and_is_cached(tmp_path: Path) -> None:
    file, reads = tmp_path / "weights", []
    file.write_bytes(b"x" * (CHUNK_BYTES + 5))
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    for _ in range(2):
        assert FileHashes(tmp_path / "cache").sha256(file, lambda: reads.append(1)) == wanted
    assert len(reads) == 2  # two chunks, the first time


@pytest.mark.parametrize("content", [b"second", b"longer than before"])
def test_a_file_that_changes_is_read_again(tmp_path: Path, content: bytes) -> None:
    file, hashes = tmp_path / "weights", FileHashes(tmp_path / "cache")
    file.write_bytes(b"before")
    first = hashes.sha256(file)
    file.write_bytes(content)
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    assert hashes.sha256(file) == hashlib.sha256(content).hexdigest() != first


@pytest.mark.parametrize("content", [b"\xff\xfe", b"z" * 64, b"\xff" * 64, b""])
def test_a_cache_entry_that_is_no_hash_is_ignored(tmp_path: Path, content: bytes) -> None:
    file, hashes = tmp_path / "weights", FileHashes(tmp_path / "cache")
    file.write_bytes(b"weights")
    right = hashes.sha256(file)
    next((tmp_path / "cache").iterdir()).write_bytes(content)
    assert hashes.sha256(file) == right


def test_it_can_be_stopped_between_chunks(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"weights")

    def stop() -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        FileHashes(tmp_path / "cache").sha256(file, stop)
    assert not (tmp_path / "cache").exists()


def test_files_of_the_hugging_face_cache_are_not_read(tmp_path: Path) -> None:
    name, reads = "ab" * 32, []
    blob = tmp_path / "blobs" / name
    blob.parent.mkdir()
    blob.write_bytes(b"weights")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert FileHashes(tmp_path / "cache").sha256(link, lambda: reads.append(1)) == name and not reads
