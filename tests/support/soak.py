"""Which parameters `make test` leaves to `make soak`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first_only(values: Iterable[Any]) -> list[Any]:
    """Parameters of which `make test` takes the first alone and `make soak` the others."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.soak) for value in others)]
