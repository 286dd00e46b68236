"""Whose upload is whose, how much may be sent, and for how long it is kept."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import pytest

from wan_pipeline.access.uploads import LEAST_BYTES, LIFE_SECONDS, Uploads
from wan_pipeline.errors import StorageError, UserError


def test_a_file_is_its_keys_alone(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    name = uploads.add(io.BytesIO(b"a picture"), ".png", "one")
    path = uploads.path(name, "one")
    assert (path.read_bytes(), path.suffix) == (b"a picture", ".png")
    for other in ("two", ""):
        with pytest.raises(UserError, match="no file that you uploaded"):
            uploads.path(name, other)
    for made_up in ("/etc/passwd", str(path), f"./{name}", f"../{path.parent.name}/{name}", ""):
        with pytest.raises(UserError, match="no file that you uploaded"):
            uploads.path(made_up, "one")


def test_quotas_of_a_key_and_of_all(tmp_path: Path) -> None:
    large, small = b"x" * 10 * LEAST_BYTES, b""
    uploads = Uploads(tmp_path, max_of_key=10 * LEAST_BYTES, max_in_all=25 * LEAST_BYTES)
    uploads.add(io.BytesIO(large), "", "one")
    with pytest.raises(UserError, match="wait until tomorrow"):
        uploads.add(io.BytesIO(small), "", "one")
    for _ in range(10):
        uploads.add(io.BytesIO(small), "", "two")
    with pytest.raises(UserError, match="wait until tomorrow"):
        uploads.add(io.BytesIO(small), "", "two")
    with pytest.raises(UserError, match="no room for this file"):
        uploads.add(io.BytesIO(large), "", "three")
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) == len(large)


def test_after_a_day_a_file_goes_and_makes_room(tmp_path: Path) -> None:
    now = 0.0
    uploads = Uploads(tmp_path, max_of_key=LEAST_BYTES, clock=lambda: now)
    old = uploads.add(io.BytesIO(b"x"), "", "one")
    path = uploads.path(old, "one")
    now = LIFE_SECONDS + 1
    uploads.add(io.BytesIO(b"y"), "", "one")
    assert not path.exists()
    with pytest.raises(UserError):
        uploads.path(old, "one")


def test_a_server_leaves_nothing(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    uploads.add(io.BytesIO(b"x"), "", "one")
    assert list(tmp_path.iterdir())
    del uploads
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_one_sentence_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    uploads = Uploads(tmp_path / "file")
    with pytest.raises(StorageError) as told:
        uploads.add(io.BytesIO(b"x"), "", "one")
    assert str(tmp_path) not in str(told.value)
