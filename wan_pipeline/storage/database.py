"""The SQLite database of a workspace. Each change is one transaction, so a process may die at any moment.

`journal_mode=DELETE, synchronous=FULL`: SQLite before 3.51.3 can corrupt a write-ahead log when it resets it. Every
use opens its own connection: that costs well under a millisecond and makes a Database safe to share between threads.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from wan_pipeline.errors import DamagedDatabaseError, DiskFullError, StorageError
from wan_pipeline.storage.crash import CrashPoint, crash_point
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.schema import migrate, schema_of

BUSY_SECONDS = 30.0
"""How long to wait for another process that is writing."""

_FULL = (sqlite3.SQLITE_FULL,)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """`connection` to read, `transaction` to write. Both raise StorageError if the file cannot be used.

    No use of it makes a file or its tables, but `create`: a process that found an empty file, where another program or
    a failing disk left one, would turn a loss that is noticed and repaired into an empty queue.
    """

    def __init__(self, path: Path) -> None:
        """Open the file of a workspace, and migrate an older one. Raises StorageError."""
        self.path = path
        with self.connection() as connection:
            if schema_of(connection) == 0:
                raise lost_database(path, "it has no tables")
            connection.execute("PRAGMA journal_mode = DELETE")
            migrate(connection)

    @classmethod
    def create(cls, path: Path) -> Database:
        """Open the file, made whole in a new workspace. Call `repair_if_corrupt` before. Raises StorageError."""
        with alone_with(path):
            if not has_content(path):
                make_empty(path)
        return cls(path)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode, with rows as sqlite3.Row."""
        try:
            with opened(self.path) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
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


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Context manager: a connection to a file that is there; it makes none. Raises sqlite3.Error."""
    name = quote(os.fsencode(path.absolute().as_posix()))
    uri = f"file://{name if name.startswith('/') else f'/{name}'}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        yield connection


@contextmanager
def alone_with(database: Path) -> Iterator[None]:
    """Context manager: no other process makes or repairs the same database meanwhile. Raises StorageError."""
    lock = FileLock(database.parent / "locks" / "database.lock", timeout=BUSY_SECONDS)
    try:
        (database.parent / "locks").mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (Timeout, OSError) as error:
        raise database_error(database, error) from error
    try:
        yield
    finally:
        lock.release()


def has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise database_error(path, error) from error


def make_empty(path: Path) -> None:
    """Put a database without rows in this place, whole or not at all. Raises StorageError."""
    with whole_file(path) as part:
        try:
            with opened(part) as connection:
                connection.execute("PRAGMA synchronous = OFF")  # `whole_file` flushes it
                migrate(connection)
        except sqlite3.Error as error:
            raise database_error(path, error) from error


def database_error(path: Path, error: Exception) -> StorageError:
    """The StorageError that says what SQLite's error means for the user."""
    code = primary_code(error)
    if (code == sqlite3.SQLITE_CANTOPEN and not path.exists()) or str(error).startswith("no such table"):
        return lost_database(path, str(error))
    if code in _LOCKED:
        return StorageError(
            f"The database {path} has been locked by another program for {BUSY_SECONDS:.0f} s; close what has it open "
            "(a backup, a sync or a database tool) and try again."
        )
    if code in _FULL:
        return DiskFullError(f"The disk of the database {path} is full; free some space and try again.", path.parent)
    if code in DAMAGED:
        return lost_database(path, str(error))
    return StorageError(
        f"The database {path} cannot be used ({error}); check that its folder is writable, or choose another with "
        "--workspace."
    )


def lost_database(path: Path, reason: str) -> DamagedDatabaseError:
    return DamagedDatabaseError(
        f"The database {path} is damaged ({reason}); Wan Studio restores its newest backup, in a moment or at its next "
        "start."
    )


def primary_code(error: Exception) -> int | None:
    """SQLite's primary result code, without the extended bits; None for other errors."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
