"""Backups of a workspace's database, and its repair when it is found damaged.

Backups are numbered, not dated: the clock may be set back.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from wan_pipeline.errors import StorageError
from wan_pipeline.progress import Throttle
from wan_pipeline.storage.database import (
    DAMAGED,
    alone_with,
    database_error,
    has_content,
    make_empty,
    opened,
    primary_code,
)
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.schema import MIGRATIONS, schema_of

MAX_BACKUPS = 6
"""Older ones are deleted."""
INTERVAL_SECONDS = 600.0
"""Time between two backups that `tick` makes."""

logger = logging.getLogger(__name__)


class Backups:
    """Backups of one database, in the folder `backups` beside it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._folder = database.parent / "backups"
        self._throttle = Throttle(INTERVAL_SECONDS, is_due_at_first=False)

    def tick(self) -> None:
        """Back up if INTERVAL_SECONDS have passed. Long-running processes call it often; errors are logged."""
        if not self._throttle.is_due():
            return
        try:
            self.backup()
        except StorageError as error:
            logger.warning("The database could not be backed up: %s", error)

    def backup(self) -> Path | None:
        """Copy the database; None if nothing changed since the newest backup. Raises StorageError.

        A damaged database is not copied: it would push good backups out.
        """
        backups = self.newest_first()
        try:
            changed_at = self._database.stat().st_mtime_ns
            is_unchanged = bool(backups) and backups[0].stat().st_mtime_ns == changed_at
        except OSError as error:  # one of them was removed from outside
            raise StorageError(f"The database {self._database} cannot be backed up ({error}).") from error
        if is_unchanged:
            return None
        target = self._folder / f"studio-{_number(backups[0]) + 1 if backups else 1:06d}.sqlite3"
        with whole_file(target) as part:
            _copy(self._database, part)
            if reason := damage(part):
                raise StorageError(f"The database {self._database} is damaged ({reason}); restart Wan Studio.")
            os.utime(part, ns=(changed_at, changed_at))
        for old in backups[MAX_BACKUPS - 1 :]:
            with suppress(PermissionError):  # open elsewhere, on Windows; the next backup deletes it
                old.unlink(missing_ok=True)
        return target

    def newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("studio-[0-9]*.sqlite3"), key=_number, reverse=True)


def repair_if_corrupt(database: Path, *, is_open: bool = False) -> list[str]:
    """Make sure that the database can be opened. Returns one sentence for the user about each repair.

    A damaged file is moved aside and replaced by the newest good backup. A file of an older version is backed up, as it
    is about to be migrated. Call it before the database is opened; or while it is, with `is_open`: then a file that is
    missing or empty was lost, and is replaced too. Raises StorageError.
    """
    with alone_with(database):
        backups = Backups(database)
        if not is_open and not database.exists():
            return _notice_of_missing(backups)
        if not is_open and not has_content(database) and not backups.newest_first():
            return []  # a new workspace, whose first start was cut short
        if reason := damage(database):
            return [_replace(database, backups, reason)]
        with _read_transaction(database) as connection:
            is_older = schema_of(connection) < len(MIGRATIONS)
        if is_older:
            backups.backup()
        return []


def damage(database: Path) -> str | None:
    """What SQLite's quick check finds wrong, or that nothing is there to check; None if all is well.

    Raises StorageError if the file cannot be read.
    """
    if not has_content(database):
        return "it is empty" if database.exists() else "it is missing"
    try:
        with _read_transaction(database) as connection:
            if schema_of(connection) == 0:
                return "it has no tables"
            answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if primary_code(error) in DAMAGED:
            return str(error)
        raise database_error(database, error) from error
    return None if answer == "ok" else answer.splitlines()[-1]


def _replace(database: Path, backups: Backups, reason: str) -> str:
    """Replace a damaged database by the newest good backup, or by an empty one, and return a sentence for the user.

    A crash at any point leaves either the damaged file or the backup in place.
    """
    good = next((backup for backup in backups.newest_first() if damage(backup) is None), None)
    try:
        aside = _put_aside(database)
        if good is None:
            make_empty(database)
        else:
            with whole_file(database) as part:
                shutil.copyfile(good, part)
    except OSError as error:
        raise StorageError(
            f"The database {database} is damaged ({reason}) and cannot be replaced ({error.strerror}); close every "
            "other program that uses the workspace and start again."
        ) from error
    notice = f"The database was damaged ({reason})." + (f" It was put aside as {aside.name}." if aside else "")
    if good is None:
        return f"{notice} There was no good backup, so the queue starts empty. Finished clips are listed again."
    when = datetime.fromtimestamp(good.stat().st_mtime).astimezone().strftime("%H:%M on %d %B")
    return f"{notice} The backup of {when} took its place. Jobs queued after that are lost; finished clips are not."


def _put_aside(database: Path) -> Path | None:
    """Copy the damaged file; None if it is missing. Its journal is moved, for SQLite would replay it into the file that
    takes its place.
    """
    stem = f"{database.stem}.corrupt-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    aside = database.with_name(f"{stem}{database.suffix}")
    number = 1
    while aside.exists():
        number += 1
        aside = database.with_name(f"{stem}-{number}{database.suffix}")
    has_file = database.exists()
    if has_file:
        with whole_file(aside) as part:
            shutil.copyfile(database, part)
    for suffix in ("-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            database.with_name(database.name + suffix).replace(aside.with_name(aside.name + suffix))
    return aside if has_file else None


def _notice_of_missing(backups: Backups) -> list[str]:
    newest = next(iter(backups.newest_first()), None)
    if newest is None:  # a new workspace
        return []
    return [
        "The workspace has no database, so the queue starts empty. If it was deleted by mistake, close Wan Studio and "
        f"put the newest backup, {newest.name} of the folder backups, in its place."
    ]


def _copy(source: Path, target: Path) -> None:
    """Copy a database that others may be using. Raises StorageError, and OSError if the target's disk is full."""
    try:
        with _read_transaction(source) as connection, closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, str(error)) from error
        raise database_error(source, error) from error


@contextmanager
def _read_transaction(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that holds a read lock: others may read, and write when it is closed."""
    with opened(database) as connection:
        connection.execute("BEGIN")
        schema_of(connection)  # takes the lock, or gives up after BUSY_SECONDS
        yield connection


def _number(backup: Path) -> int:
    return int(re.findall(r"\d+", backup.stem)[-1])
