"""Keys that let guests in: made by the owner, shown once, stored as hashes, revoked in a click."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from wan_pipeline.access.roles import Role
from wan_pipeline.errors import UserError
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked

KEY_BYTES = 16
"""128 random bits: no dictionary and no luck finds one, so a plain SHA-256 is enough to store it."""
DEFAULT_EXPIRY = timedelta(hours=48)
MAX_CLIPS = 100_000
MAX_EXPIRY = timedelta(days=366)
VISITOR = "v"
"""Begins the ids of keys that a Space gave to visitors by itself; those of other keys are hexadecimal. A clip holds the
id of the key it was made by, and so shows that it is a visitor's after the key is gone."""
USE_SECONDS = 60.0
"""The last use is written at most this often."""

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Key:
    """One key as the owner sees it; the secret itself is not stored."""

    id: str
    """Random, so that it does not reveal how many keys there are."""
    role: Role
    project: str
    """What it covers; empty: the whole studio."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    max_clips: int | None = None
    """Clips that it may make in all; None: no limit but the caps of every key."""

    @property
    def is_visitor(self) -> bool:
        """Whether a Space gave it to a visitor who came without one: they see only what they made themselves."""
        return self.id.startswith(VISITOR)

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


class Keys:
    """The keys of one workspace. Every method raises StorageError when the database cannot be used."""

    def __init__(self, database: Database, check_main_app: CheckMainApp = unchecked) -> None:
        self._database = database
        self._check_main_app = check_main_app

    def create_for_server(self, role: Role, project: str = "", expires: timedelta = DEFAULT_EXPIRY) -> tuple[str, Key]:
        """For those whom a server itself lets in: its owner, and holders of the invitation that it prints."""
        return self._create(secrets.token_hex(4), role, project, expires, None)

    @main_app_only
    def create(
        self,
        role: Role,
        project: str = "",
        expires: timedelta | None = DEFAULT_EXPIRY,
        max_clips: int | None = None,
    ) -> tuple[str, Key]:
        """Make a key. Returns the secret, which is shown this once, and its record."""
        return self._create(secrets.token_hex(4), role, project, expires, max_clips)

    def create_for_visitor(self, expires: timedelta) -> tuple[str, Key]:
        """The same for a visitor who came to a Space without a key."""
        return self._create(VISITOR + secrets.token_hex(8), Role.MAKE, "", expires, None)

    def _create(
        self, key_id: str, role: Role, project: str, expires: timedelta | None, max_clips: int | None
    ) -> tuple[str, Key]:
        secret, now = secrets.token_urlsafe(KEY_BYTES), datetime.now(UTC)
        end = None if expires is None else now + expires
        key = Key(key_id, role, project, now, end, None, max_clips)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO keys (id, hash, role, project, max_clips, created_at, expires_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key.id, _hash(secret), role, project, max_clips, now.isoformat(), end.isoformat() if end else None),
            )
        return secret, key

    def find(self, secret: str) -> Key | None:
        """The valid key of this secret; None if it is wrong, expired or revoked."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM keys WHERE hash = ?", (_hash(secret),)).fetchone()
        key = _key(row) if row else None
        return None if key is None or key.is_expired(datetime.now(UTC)) else key

    def record_use(self, key: Key) -> None:
        """Note that the key was just used, at most once a minute."""
        now = datetime.now(UTC)
        if key.last_used_at and (now - key.last_used_at).total_seconds() < USE_SECONDS:
            return
        with self._database.transaction() as connection:
            connection.execute("UPDATE keys SET last_used_at = ? WHERE id = ?", (now.isoformat(), key.id))

    def list(self) -> list[Key]:
        """All keys but those of visitors, the newest first, expired ones too."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT * FROM keys WHERE substr(id, 1, 1) != ? ORDER BY created_at DESC, id", (VISITOR,)
            ).fetchall()
        return [key for row in rows if (key := _key(row))]

    def rename_projects(self, new_name: Callable[[str], str]) -> None:
        """Give keys for a project the name that the project has now, by the one that they hold; "" leaves it."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT DISTINCT project FROM keys WHERE project != ''").fetchall()
            names = [(new, old) for (old,) in rows if (new := new_name(old)) not in ("", old)]
            connection.executemany("UPDATE keys SET project = ? WHERE project = ?", names)

    def is_valid(self, key_id: str) -> bool:
        """Whether the key still lets its bearer in."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
        key = _key(row) if row else None
        return key is not None and not key.is_expired(datetime.now(UTC))

    def remove_expired(self, now: datetime) -> int:
        """Delete keys that are no longer valid. Returns how many."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM keys WHERE expires_at IS NOT NULL").fetchall()
            expired = [key.id for row in rows if (key := _key(row)) and key.is_expired(now)]
            connection.executemany("DELETE FROM keys WHERE id = ?", [(key_id,) for key_id in expired])
        return len(expired)

    def end(self, key_id: str) -> None:
        """Delete a key that `create_for_server` made, unless the owner has revoked it already."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM keys WHERE id = ?", (key_id,))

    @main_app_only
    def revoke(self, key_id: str) -> Key:
        """Delete a key; its open pages end with their next request. Raises UserError for an unknown id."""
        with self._database.transaction() as connection:
            row: sqlite3.Row | None = connection.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
            key = _key(row) if row else None
            if key is None:
                raise UserError(f"There is no key '{key_id[:40]}'; `share --list` shows them.")
            connection.execute("DELETE FROM keys WHERE id = ?", (key_id,))
        return key


def parse_expiry(text: str) -> timedelta | None:
    """The lifetime in "30m", "48h", "7d", "2w"; None for "never". Raises UserError."""
    if text.strip().lower() == "never":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})\s*([mhdw])", text.strip().lower())
    lifetime = timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else None
    if lifetime is None or lifetime > MAX_EXPIRY:
        raise UserError(f"'{text[:40]}' is no lifetime of a key; use one such as 30m, 48h, 7d, up to a year, or never.")
    return lifetime


def parse_max_clips(value: object) -> int | None:
    """How many clips a key may make, as a form or a program sends it; None for no limit. Raises UserError."""
    if value is None or value == "":
        return None
    text = str(value)
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:9]) <= MAX_CLIPS:
        raise UserError(f"'{text[:40]}' clips are no invitation; use 1 to {MAX_CLIPS:,}, or leave it out.")
    return int(text)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: sqlite3.Row) -> Key | None:
    """None for a row that cannot be read: such a key is not valid."""
    try:
        return Key(
            id=row["id"],
            role=Role(row["role"]),
            project=row["project"],
            created_at=datetime.fromisoformat(row["created_at"]),
            expires_at=_time(row["expires_at"]),
            last_used_at=_time(row["last_used_at"]),
            max_clips=row["max_clips"],
        )
    except ValueError:
        return None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
