"""Left-over files of processes that died."""

from __future__ import annotations

import os

from wan_pipeline.jobs.worker.files import STRAY_SECONDS, remove_stray_parts
from wan_pipeline.settings import Settings


def test_stale_parts_go_with_folders_of_sequences_and_young_ones_stay(settings: Settings) -> None:
    file, folder, young = (settings.exports / name for name in ("a.mov.1.part", "b.2.part", "c.3.part"))
    file.write_bytes(b"half")
    young.write_bytes(b"half")
    folder.mkdir()
    (folder / "b.1001.png").write_bytes(b"half")
    for path in (file, folder):
        long_ago = path.stat().st_mtime - STRAY_SECONDS - 60
        os.utime(path, (long_ago, long_ago))
    remove_stray_parts(settings)
    assert list(settings.exports.iterdir()) == [young]
