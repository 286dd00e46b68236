"""The one table of what each role may do. Every handler, API route and MCP tool asks it by an action's name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from wan_pipeline.errors import AccessError


class Role(StrEnum):
    """Of whoever asks. A guest has the role of the key they bring."""

    VIEW = "view"
    """Watches and compares the clips of one project, or of the whole studio, and comments on them."""
    MAKE = "make"
    """Also generates, within caps, and sees and undoes what it made itself."""
    OWNER = "owner"
    """May do everything."""


class Action(StrEnum):
    """What can be asked of the studio, named as a person would say it."""

    OPEN_PAGE = "open the page"
    WATCH = "watch clips"
    COMPARE = "compare clips"
    COMMENT = "comment on clips"
    REUSE_SETTINGS = "reuse a clip's settings"
    DOWNLOAD_CLIP = "download a clip"

    SEE_MODELS = "see which models are ready"
    ESTIMATE = "estimate a clip"
    GENERATE = "make a clip"
    SEE_OWN_JOBS = "see one's own jobs"
    CANCEL_OWN = "cancel one's own jobs"
    BIN_OWN = "bin one's own clips"

    SEE_ALL_JOBS = "see the whole queue"
    EDIT_QUEUE = "change the queue"
    ADD_LISTS = "add lists"
    EXPORT_QUEUE = "export the queue"
    OPEN_CLIP_FILES = "open clips from files"
    EDIT_CLIPS = "star, note and bin clips"
    EMPTY_BIN = "empty the bin"
    VERIFY = "verify clips"
    SHOW_FOLDERS = "show folders of this computer"
    MANAGE_MODELS = "download, import and remove models"
    SEE_LOGS = "see logs and notices"
    SHARE = "share the studio"


_EVERYBODY = frozenset(Role)
_MAKERS = frozenset({Role.MAKE, Role.OWNER})
_OWNER = frozenset({Role.OWNER})

ALLOWED: Mapping[Action, frozenset[Role]] = {
    Action.OPEN_PAGE: _EVERYBODY,
    Action.WATCH: _EVERYBODY,
    Action.COMPARE: _EVERYBODY,
    Action.COMMENT: _EVERYBODY,
    Action.DOWNLOAD_CLIP: _EVERYBODY,
    Action.REUSE_SETTINGS: _MAKERS,
    Action.SEE_MODELS: _MAKERS,
    Action.ESTIMATE: _MAKERS,
    Action.GENERATE: _MAKERS,
    Action.SEE_OWN_JOBS: _MAKERS,
    Action.CANCEL_OWN: _MAKERS,
    Action.BIN_OWN: _MAKERS,
    Action.SEE_ALL_JOBS: _OWNER,
    Action.EDIT_QUEUE: _OWNER,
    Action.ADD_LISTS: _OWNER,
    Action.EXPORT_QUEUE: _OWNER,
    Action.OPEN_CLIP_FILES: _OWNER,
    Action.EDIT_CLIPS: _OWNER,
    Action.EMPTY_BIN: _OWNER,
    Action.VERIFY: _OWNER,
    Action.SHOW_FOLDERS: _OWNER,
    Action.MANAGE_MODELS: _OWNER,
    Action.SEE_LOGS: _OWNER,
    Action.SHARE: _OWNER,
}


def may(role: Role, action: Action) -> bool:
    return role in ALLOWED[action]


def check(role: Role, action: Action) -> None:
    """Raise AccessError unless the role may do this."""
    if not may(role, action):
        raise AccessError(f"Your key is for '{role}', which does not allow to {action}; ask the studio's owner.")
