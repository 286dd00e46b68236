"""Where pictures go."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return tmp_path / "inputs"
