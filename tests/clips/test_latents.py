"""Kept latents: read only if they are those of the receipt, wherever the clip was moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.files.receipts import make_receipt
from wan_pipeline.clips.latents import NoLatentsError, facts_of, read_latents, write_latents
from wan_pipeline.clips.naming import check_output
from wan_pipeline.clips.receipt import Receipt
from wan_pipeline.errors import ReceiptError, StorageError


def test_they_are_read_back_also_after_the_clip_was_renamed(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    facts, path = facts_of(b"latents", clip), write_latents(b"latents", clip)
    assert (facts.file, facts.bytes) == ("a.latents", 7) and path == tmp_path / "a.latents"
    assert read_latents(clip, facts) == b"latents"
    assert read_latents(tmp_path / "only-the-mp4-was-renamed.mp4", facts) == b"latents"
    path.rename(tmp_path / "b.latents")
    assert read_latents(tmp_path / "b.mp4", facts) == b"latents"
    with pytest.raises(NoLatentsError, match=r"put a\.latents there"):
        read_latents(clip, facts)


def test_changed_ones_are_not_used(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    facts = facts_of(b"latents", clip)
    for content in (b"Latents", b"latents "):
        write_latents(content, clip)
        with pytest.raises(NoLatentsError, match="were changed"):
            read_latents(clip, facts)
    with pytest.raises(NoLatentsError, match="without keeping its latents"):
        read_latents(clip, None)


def test_the_receipt_holds_them_and_older_ones_do_not(tmp_path: Path) -> None:
    old = Receipt.from_dict(make_receipt())
    assert old.latents is None and "latents" not in old.to_dict()
    facts = facts_of(b"latents", tmp_path / "a.mp4")
    assert Receipt.from_dict(replace(old, latents=facts).to_dict()).latents == facts


@pytest.mark.parametrize("file", ["../a.latents", "/etc/passwd", "a\\b", "", "a\nb", "x" * 256])
def test_no_receipt_names_a_file_elsewhere(file: str) -> None:
    with pytest.raises(ReceiptError, match=r"latents\.file"):
        Receipt.from_dict(make_receipt(latents={"file": file, "bytes": 7, "sha256": "0" * 64}))


def test_no_clip_replaces_another_files_latents(tmp_path: Path) -> None:
    (tmp_path / "a.latents").write_bytes(b"somebody's")
    with pytest.raises(StorageError, match=r"a\.latents"):
        check_output(tmp_path / "a.mp4")
