"""A workspace's database, its folder already there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.queues import OpenQueue


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir(exist_ok=True)
    return tmp_path / "workspace" / "studio.sqlite3"


@pytest.fixture
def queue(database: Path) -> OpenQueue:
    return OpenQueue(database)
