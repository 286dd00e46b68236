"""Backups of a workspace's database, and what is done when it is found damaged.

Copies are numbered, not dated: the clock may be set back.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.database import BUSY_SECONDS, DAMAGED, database_error, primary_code
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.schema import MIGRATIONS

KEPT = 6
"""Newer copies push older ones out."""
INTERVAL_SECONDS = 600.0
"""Between two copies that `tick` makes."""

logger = logging.getLogger(__name__)


class Backups:
    """Whole copies of one database, in the folder `backups` beside it."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._folder = database.parent / "backups"
        self._due = time.monotonic() + INTERVAL_SECONDS

    def tick(self) -> None:
        """Keep a copy when it is time: to be called often by whoever runs long. What hinders it goes to the log."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + INTERVAL_SECONDS
        try:
            self.keep()
        except StorageError as error:
            logger.warning("The database could not be backed up: %s", error)

    def keep(self) -> Path | None:
        """Copy the database, unless the newest copy is of the same state. Raises StorageError.

        A damaged database is not copied, so that it cannot push whole copies out.
        """
        copies = self.newest_first()
        changed_at = self._database.stat().st_mtime_ns
        if copies and copies[0].stat().st_mtime_ns == changed_at:
            return None
        target = self._folder / f"studio-{_number(copies[0]) + 1 if copies else 1:06d}.sqlite3"
        with whole_file(target) as part:
            _copy(self._database, part)
            if reason := damage(part):
                raise StorageError(f"The database {self._database} is damaged ({reason}); restart Wan Studio.")
            os.utime(part, ns=(changed_at, changed_at))
        for old in copies[KEPT - 1 :]:
            with suppress(PermissionError):  # on Windows, while somebody reads it: the next copy removes it
                old.unlink(missing_ok=True)
        return target

    def newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("studio-[0-9]*.sqlite3"), key=_number, reverse=True)


def repair_if_corrupt(database: Path) -> list[str]:
    """See that the database can be opened, and give a sentence for the person for each thing that was put right.

    A damaged file is put aside and the newest whole backup takes its place. Before an older file is brought up to
    date, it is backed up. To be called before an app or a command opens the database. Raises StorageError.
    """
    with _alone(database):
        backups = Backups(database)
        if not database.exists():
            return _told_of(backups)
        if database.stat().st_size == 0 and backups.newest_first():
            return [_replace(database, backups, "it is empty")]
        if reason := damage(database):
            return [_replace(database, backups, reason)]
        if 0 < _schema(database) < len(MIGRATIONS):
            backups.keep()
        return []


def damage(database: Path) -> str | None:
    """Why the file is no sound database; None if it is one. Raises StorageError when that cannot be told."""
    try:
        with _reading(database) as connection:
            answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if primary_code(error) in DAMAGED:
            return str(error)
        raise database_error(database, error) from error
    return None if answer == "ok" else answer.splitlines()[-1]


def _replace(database: Path, backups: Backups, reason: str) -> str:
    """Put a damaged database aside and the newest whole backup in its place. What to tell the person.

    Whenever this process dies, either the damaged file or its backup is there, not nothing.
    """
    whole = next((copy for copy in backups.newest_first() if damage(copy) is None), None)
    try:
        aside = _copied_aside(database)
        if whole is None:
            database.unlink()
        else:
            with whole_file(database) as part:
                shutil.copyfile(whole, part)
    except OSError as error:
        raise StorageError(
            f"The database {database} is damaged ({reason}) and cannot be put aside ({error.strerror}); close every "
            "other program that uses the workspace and start again."
        ) from error
    told = f"The database was damaged ({reason}). It was put aside as {aside.name}, and "
    if whole is None:
        return f"{told}there was no whole backup, so the queue starts empty. Finished clips are kept and listed again."
    when = datetime.fromtimestamp(whole.stat().st_mtime).astimezone().strftime("%H:%M on %d %B")
    return f"{told}the backup of {when} took its place. Jobs queued after that are gone; clips made after it are kept."


def _copied_aside(database: Path) -> Path:
    """A copy of the damaged file. Its journal is moved: it would be played back into the file that takes its place."""
    stem = f"{database.stem}.corrupt-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    aside = database.with_name(f"{stem}{database.suffix}")
    number = 1
    while aside.exists():
        number += 1
        aside = database.with_name(f"{stem}-{number}{database.suffix}")
    with whole_file(aside) as part:
        shutil.copyfile(database, part)
    for ending in ("-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            database.with_name(database.name + ending).replace(aside.with_name(aside.name + ending))
    return aside


def _told_of(backups: Backups) -> list[str]:
    copies = backups.newest_first()
    if not copies:
        return []
    return [
        "The workspace has no database, so the queue starts empty. If it was deleted by mistake, close Wan Studio and "
        f"put the newest backup, {copies[0].name} of the folder backups, in its place."
    ]


def _copy(source: Path, target: Path) -> None:
    """Raises StorageError, and OSError when the target finds no room."""
    try:
        with _reading(source) as connection, closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, str(error)) from error
        raise database_error(source, error) from error


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that holds the state of now: others may read, and write when this is over."""
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("PRAGMA user_version").fetchone()  # takes the lock, or gives up after BUSY_SECONDS
        yield connection


def _schema(database: Path) -> int:
    with _reading(database) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Two apps that start together must not both put the database aside."""
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


def _number(copy: Path) -> int:
    return int(re.findall(r"\d+", copy.stem)[-1])
