"""The SQLite database of a workspace. Each change is one transaction, so a process may die at any moment.

`journal_mode=DELETE, synchronous=FULL`: SQLite before 3.51.3 can corrupt a write-ahead log when it resets it. Every
use opens its own connection: that costs well under a millisecond and makes a Database safe to share between threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wan_pipeline.errors import DamagedDatabaseError, DiskFullError, StorageError
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.schema import migrate

BUSY_SECONDS = 30.0
"""How long to wait for another process that is writing."""

_FULL = (sqlite3.SQLITE_FULL,)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """`connection` to read, `transaction` to write. Both raise StorageError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        """Create the file, or migrate an older one. Raises StorageError."""
        self.path = path
        with self.connection() as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            migrate(connection)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode, with rows as sqlite3.Row."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise database_error(self.path, error) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed together, or rolled back if anything is raised."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # an error closes the connection, which rolls back
            crash_point(CrashPoint.COMMITTING)
            connection.execute("COMMIT")
        crash_point(CrashPoint.COMMITTED)


def database_error(path: Path, error: Exception) -> StorageError:
    """The StorageError that says what SQLite's error means for the user."""
    code = primary_code(error)
    if code in _LOCKED:
        return StorageError(
            f"The database {path} has been locked by another program for {BUSY_SECONDS:.0f} s; close what has it open "
            "(a backup, a sync or a database tool) and try again."
        )
    if code in _FULL:
        return DiskFullError(f"The disk of the database {path} is full; free some space and try again.", path.parent)
    if code in DAMAGED:
        return DamagedDatabaseError(
            f"The database {path} is damaged ({error}); Wan Studio restores its newest backup, in a moment or at its "
            "next start."
        )
    return StorageError(
        f"The database {path} cannot be used ({error}); check that its folder is writable, or choose another with "
        "--workspace."
    )


def primary_code(error: Exception) -> int | None:
    """SQLite's primary result code, without the extended bits; None for other errors."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
