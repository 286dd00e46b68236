"""Which parameters `make test` leaves to `make soak`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first_only(values: Iterable[Any]) -> list[Any]:
    """Parameters of which `make test` takes the first alone and `make soak` the others."""
    first, *others = values
    return [first, *map(soaked, others)]


def soaked(*values: Any, id: str | None = None) -> Any:
    """A parameter, or one for several names, that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.soak, id=id)
