"""A module's `forward` replaced for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def restoring_forwards(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Context manager: afterwards each module has the `forward` that it has now, whatever replaced it meanwhile."""
    before = {module: module.__dict__.get("forward") for module in modules}
    try:
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop("forward", None)
            if forward is not None:  # one that was replaced before
                module.__dict__["forward"] = forward
