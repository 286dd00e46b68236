"""A password for the owner's own use from another computer of the network."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from wan_pipeline.errors import UserError

MIN_CHARACTERS = 8
SESSION_BYTES = 16
SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
"""Cost of one try: about 50 ms and 16 MB (RFC 7914)."""


class Password:
    """Kept as a hash, and with the sessions it has opened, in memory alone."""

    def __init__(self, text: str) -> None:
        """Raises UserError for one that is easily guessed."""
        if len(text) < MIN_CHARACTERS:
            raise UserError(f"The password has {len(text)} characters; choose one of at least {MIN_CHARACTERS}.")
        self._salt = secrets.token_bytes(16)
        self._hash = self._hashed(text)
        self._sessions: set[str] = set()

    def matches(self, text: str) -> bool:
        return hmac.compare_digest(self._hash, self._hashed(text))

    def new_session(self) -> str:
        """A secret for the cookie of a browser that gave the password. It ends with the server."""
        secret = secrets.token_urlsafe(SESSION_BYTES)
        self._sessions.add(secret)
        return secret

    def has_session(self, secret: str) -> bool:
        return secret in self._sessions

    def _hashed(self, text: str) -> bytes:
        return hashlib.scrypt(text.encode("utf-8", "surrogatepass"), salt=self._salt, **SCRYPT)
