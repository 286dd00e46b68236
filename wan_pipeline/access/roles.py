"""The roles of those who are let in, and the one table of what each may do."""

from __future__ import annotations

from enum import StrEnum

from wan_pipeline.errors import UserError


class Role(StrEnum):
    """The role of a key's bearer. The person at this computer is the owner without a key."""

    VIEW = "view"
    """Watches the clips of one project, or of the whole studio."""
    MAKE = "make"
    """May also generate, within caps, and cancel and bin its own clips."""
    OWNER = "owner"
    """May do everything."""


class Action(StrEnum):
    """What can be asked of the studio. Every handler, route and tool asks for one of these by name."""

    OWN = "use the owner's page"
    """All of the owner's page: models, datasets and trainings, files of the disk, settings, logs, other people's
    prompts, the bin."""
    OPEN = "open the page"
    WATCH = "watch clips"
    COMMENT = "comment on a clip"
    REVIEW = "review picked takes"
    """See a project's picked takes in the order of its shots, and approve them or ask for changes."""
    CHOICES = "list models and styles"
    FORECAST = "ask how long a clip takes"
    UPLOAD = "upload a picture"
    GENERATE = "make a clip"
    FOLLOW = "follow a clip that is being made"
    CANCEL = "cancel a clip"
    BIN = "bin a clip"


_VIEW = frozenset({Action.OPEN, Action.WATCH, Action.COMMENT, Action.REVIEW})
_MAKE = _VIEW | {
    Action.CHOICES,
    Action.FORECAST,
    Action.UPLOAD,
    Action.GENERATE,
    Action.FOLLOW,
    Action.CANCEL,
    Action.BIN,
}
ALLOWED: dict[Role, frozenset[Action]] = {
    Role.VIEW: _VIEW,
    Role.MAKE: _MAKE,
    Role.OWNER: frozenset(Action),
}
"""What is not in it is not allowed."""


class NotAllowed(UserError):
    """The role of a caller does not allow an action. Servers answer it with 403."""


def check(role: Role, action: Action) -> None:
    """Raise NotAllowed unless the table allows the action to the role."""
    if action not in ALLOWED[role]:
        raise NotAllowed(f"Your link is for '{role}', which may not {action}; ask the owner for another.")
