"""Sessions that guests' programs have opened, limited for each key, so that one guest's cannot crowd out another's."""

from __future__ import annotations

from collections import OrderedDict

MAX_OF_KEY = 16
MAX_KEYS = 1000


class Sessions:
    """The sessions of one server. Above the limit the oldest are forgotten."""

    def __init__(self) -> None:
        self._of_keys: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def begin(self, key_id: str, session: str) -> None:
        """Note that the session is in use."""
        sessions = self._of_keys.setdefault(key_id, OrderedDict())
        sessions[session] = None
        sessions.move_to_end(session)
        self._of_keys.move_to_end(key_id)
        if len(sessions) > MAX_OF_KEY:
            sessions.popitem(last=False)
        if len(self._of_keys) > MAX_KEYS:
            self._of_keys.popitem(last=False)

    def is_begun(self, key_id: str, session: str) -> bool:
        return session in self._of_keys.get(key_id, ())
