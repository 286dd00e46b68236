"""The one table: complete, and read as it stands."""

from __future__ import annotations

import pytest

from wan_pipeline.access.roles import ALLOWED, Action, Role, check, may
from wan_pipeline.errors import AccessError


def test_every_action_is_in_the_table_and_the_owners() -> None:
    assert set(ALLOWED) == set(Action)
    assert all(may(Role.OWNER, action) for action in Action)


def test_who_may_make_may_do_what_who_may_view_may() -> None:
    assert {action for action in Action if may(Role.VIEW, action)} <= {
        action for action in Action if may(Role.MAKE, action)
    }


@pytest.mark.parametrize("role", [Role.VIEW, Role.MAKE])
@pytest.mark.parametrize(
    "action",
    [
        *(Action.EMPTY_BIN, Action.EDIT_CLIPS, Action.EDIT_QUEUE, Action.SEE_ALL_JOBS, Action.MANAGE_MODELS),
        *(Action.SEE_LOGS, Action.EXPORT_QUEUE, Action.SHOW_FOLDERS, Action.SHARE, Action.VERIFY, Action.ADD_LISTS),
    ],
)
def test_no_guest_touches_what_is_the_owners(role: Role, action: Action) -> None:
    with pytest.raises(AccessError, match=f"'{role}', which does not allow to {action}"):
        check(role, action)
