"""A part of the page whose components are named once, where they are made."""

from __future__ import annotations

from typing import Any

from gradio.components import Component


class Layout:
    """Subclasses make their components in `__init__`, as attributes."""

    @property
    def components(self) -> list[Component]:
        """All of them, to be outputs of an event: what a handler does not mention stays as it is."""
        return [part for part in vars(self).values() if isinstance(part, Component)]

    def updates(self, **values: Any) -> dict[Component, Any]:
        """Updates by attribute name."""
        return {getattr(self, name): value for name, value in values.items()}
