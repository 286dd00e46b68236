"""The roles of those who may be let in."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Of a key's bearer. The person at this computer is the owner without a key."""

    VIEW = "view"
    """Watches the clips of one project, or of the whole studio."""
    MAKE = "make"
    """Also generates, within limits, and sees and undoes what it made itself."""
    OWNER = "owner"
    """May do everything."""
