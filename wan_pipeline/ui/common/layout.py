"""A part of the page whose components are named once, where they are made."""

from __future__ import annotations

from typing import Any

from gradio.blocks import Block


class Layout:
    """Subclasses make their components in `__init__`, as attributes."""

    @property
    def components(self) -> list[Block]:
        """All components, rows and columns included, as outputs of an event.

        A handler returns updates for some of them; the others stay as they are.
        """
        return [part for part in vars(self).values() if isinstance(part, Block)]

    def updates(self, **values: Any) -> dict[Block, Any]:
        """Updates by attribute name."""
        return {getattr(self, name): value for name, value in values.items()}
