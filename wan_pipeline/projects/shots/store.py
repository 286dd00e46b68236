"""The shots of a workspace's projects: found, made, changed, picked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.projects.shots.rows import insert_shot, read_shots, read_takes, update_shot
from wan_pipeline.projects.shots.shot import NewShot, Shot, Take
from wan_pipeline.requests.lists.shots import MAX_DESCRIPTION, MAX_SHOT_NOTES, ShotOfRow, check_id, check_words
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked

MAX_SHOTS = 5000
"""Shots of one project."""
_ORDER = "ORDER BY project, position, number"


class Shots:
    """Every method raises StorageError when the database cannot be used.

    A viewer app may add shots, as it may queue clips; changing existing ones raises
    LookingOnError there.
    """

    def __init__(self, database: Database, clips: Path, check_main_app: CheckMainApp = unchecked) -> None:
        """`clips` is the workspace's folder of clips."""
        self._database, self._clips, self._check_main_app = database, clips, check_main_app

    # Finding. `project` is a label; None means all projects

    def all(self, project: str | None = None) -> list[Shot]:
        """The shots in order, with their takes."""
        return self._read(f"WHERE ?1 IS NULL OR project = ?1 {_ORDER}", project)

    def stored_settings(self) -> list[str]:
        """The settings of all shots, as they are stored."""
        with self._database.connection() as connection:
            return [row["settings"] for row in connection.execute("SELECT DISTINCT settings FROM shots")]

    def projects(self) -> list[str]:
        """Labels of the projects that have shots."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT DISTINCT project FROM shots ORDER BY project").fetchall()
        return [row["project"] for row in rows]

    def find(self, address: str, project: str | None = None) -> Shot | None:
        """The shot of an address such as `010` or `12/010`; None if there is none. Raises ProjectError for several."""
        scene, slash, shot = address.strip().rpartition("/")
        found = self._read(
            f"WHERE (?1 IS NULL OR project = ?1) AND shot = ?2 AND (?3 = '' OR scene = ?4) {_ORDER}",
            *(project, shot, slash, scene),
        )
        if len(found) > 1:
            raise ProjectError(f"There are {len(found)} shots '{address[:60]}': {_listed(found)}.")
        return found[0] if found else None

    def existing(self, address: str, project: str | None = None) -> Shot:
        """As `find`. Raises ProjectError if there is none."""
        if (found := self.find(address, project)) is not None:
            return found
        known = [shot.address for shot in self.all(project)]
        more = f" and {len(known) - 10:,} more" if len(known) > 10 else ""
        where = "any project" if project is None else f"the project '{project or 'default'}'"
        offer = f"it has {', '.join(known[:10])}{more}" if known else "it has none yet: add it by `shots add`"
        raise ProjectError(f"There is no shot '{address[:60]}' in {where}; {offer}.")

    def of_number(self, number: int) -> Shot:
        """The shot of a row. Raises ProjectError for one that was removed."""
        found = self._read("WHERE number = ?", number)
        if not found:
            raise ProjectError("That shot is not there any more; look at the list again.")
        return found[0]

    def of_take(self, take_id: str) -> Shot | None:
        """The shot that a job or clip is a take of; None if it is of none."""
        found = self._read("WHERE number = (SELECT shot FROM takes WHERE id = ?)", take_id)
        return found[0] if found else None

    def rows_of(self, take_ids: Iterable[str]) -> dict[str, ShotOfRow]:
        """What a list says of the shots that these jobs or clips are takes of, by their ids."""
        query = (
            "SELECT takes.id, scene, shots.shot, description FROM takes JOIN shots ON shots.number = takes.shot "
            "WHERE takes.id IN (SELECT value FROM json_each(?))"
        )
        with self._database.connection() as connection:
            rows = connection.execute(query, (json.dumps(list(take_ids)),)).fetchall()
        return {row["id"]: ShotOfRow(row["shot"], row["scene"], description=row["description"]) for row in rows}

    def finals_of(self, take_ids: Iterable[str]) -> dict[str, Path]:
        """The newest finished final of each of these takes that has one, by the takes' ids."""
        query = (
            "SELECT shot FROM takes WHERE id IN (SELECT value FROM json_each(?)) AND id IN (SELECT draft FROM finals)"
        )
        with self._database.connection() as connection:
            rows = connection.execute(query, (json.dumps(list(take_ids)),)).fetchall()
            takes = read_takes(connection, self._clips, [row["shot"] for row in rows]) if rows else {}
        return {
            take.final_of: take.clip for of_shot in takes.values() for take in of_shot if take.final_of and take.clip
        }

    # Making

    def ensure(self, project: str, new: Sequence[NewShot], *, update: bool = False) -> list[Shot]:
        """The shots of these ids in a project, those made that are not there; in the order given.

        `update`: existing shots are updated. Raises UserError, and makes none, if one of them
        cannot be.
        """
        for each in new:
            check_new_shot(each)
        with self._database.transaction() as connection:
            for each in new:
                number = _number(connection, project, each.scene, each.shot)
                if number is None:
                    insert_shot(connection, project, each)
                elif update:
                    update_shot(connection, number, each)
            count = connection.execute("SELECT count(*) FROM shots WHERE project = ?", (project,)).fetchone()[0]
            if count > MAX_SHOTS:
                raise ProjectError(f"That would be {count:,} shots; a project has at most {MAX_SHOTS:,}.")
            numbers = [_number(connection, project, each.scene, each.shot) for each in new]
            shots = {shot.number: shot for shot in read_shots(connection, self._clips, "WHERE project = ?", project)}
        return [shots[number] for number in numbers if number is not None]

    # Changing

    @main_app_only
    def edit(self, number: int, new: NewShot) -> Shot:
        """Give a shot another id, scene, description and notes. Its settings stay; `Renumbering` renames its clips.

        Raises UserError for an id that another shot has.
        """
        shot = self.of_number(number)
        with self._database.transaction() as connection:
            _check_edit(connection, shot, new)
            connection.execute(
                "UPDATE shots SET scene = ?, shot = ?, description = ?, notes = ? WHERE number = ?",
                (new.scene, new.shot, new.description, new.notes, number),
            )
        return self.of_number(number)

    @main_app_only
    def check_edit(self, number: int, new: NewShot) -> Shot:
        """The shot as it is. Raises what `edit` would."""
        shot = self.of_number(number)
        with self._database.connection() as connection:
            _check_edit(connection, shot, new)
        return shot

    @main_app_only
    def move(self, number: int, before: int | None) -> None:
        """Move a shot right before another one of its project, or to the end."""
        shot = self.of_number(number)
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT number FROM shots WHERE project = ? ORDER BY position, number", (shot.project,)
            ).fetchall()
            order = [row["number"] for row in rows if row["number"] != number]
            order.insert(order.index(before) if before in order else len(order), number)
            connection.executemany(
                "UPDATE shots SET position = ? WHERE number = ?", [(place, each) for place, each in enumerate(order, 1)]
            )

    @main_app_only
    def remove(self, numbers: Iterable[int]) -> None:
        """Take shots off the list. Their clips stay in the gallery."""
        with self._database.transaction() as connection:
            for number in numbers:
                connection.execute("DELETE FROM takes WHERE shot = ?", (number,))
                connection.execute("DELETE FROM shots WHERE number = ?", (number,))

    @main_app_only
    def pick(self, takes: Iterable[Take]) -> None:
        """Make takes the picked ones of their shots. What was rejected is so no more."""
        with self._database.transaction() as connection:
            for take in takes:
                of_take = "number = (SELECT shot FROM takes WHERE id = ?)"
                connection.execute(f"UPDATE shots SET picked = ? WHERE {of_take}", (take.id, take.id))  # noqa: S608
                connection.execute("UPDATE clips SET rejected = 0 WHERE id = ?", (take.id,))

    @main_app_only
    def unpick(self, numbers: Iterable[int]) -> None:
        """Shots without a picked take."""
        with self._database.transaction() as connection:
            connection.executemany("UPDATE shots SET picked = '' WHERE number = ?", [(number,) for number in numbers])

    @main_app_only
    def reject(self, takes: Iterable[Take], rejected: bool = True) -> None:
        """Mark takes as rejected, or not; one that was picked is so no more."""
        with self._database.transaction() as connection:
            for take in takes:
                connection.execute("UPDATE clips SET rejected = ? WHERE id = ?", (rejected, take.id))
                if rejected:
                    connection.execute("UPDATE shots SET picked = '' WHERE picked = ?", (take.id,))

    def _read(self, clause: str, *values: object) -> list[Shot]:
        with self._database.connection() as connection:
            return read_shots(connection, self._clips, clause, *values)


def take_of(shot: Shot, number: int) -> Take:
    """A finished take by its number. Raises UserError."""
    found = next((take for take in shot.takes if take.number == number), None)
    if found is None:
        known = ", ".join(str(take.number) for take in shot.takes) or "none"
        raise UserError(f"Shot {shot.address} has no take {number}; its takes are: {known}.")
    if not found.is_done:
        raise UserError(f"Take {number} of shot {shot.address} is {found.state}; choose one that is finished.")
    return found


def check_new_shot(new: NewShot) -> None:
    """Raises RequestError for ids or texts that no shot can have."""
    check_id("shot", new.shot)
    if new.scene:
        check_id("scene", new.scene)
    check_words("description", new.description, MAX_DESCRIPTION)
    check_words("notes", new.notes, MAX_SHOT_NOTES)


def _check_edit(connection: sqlite3.Connection, shot: Shot, new: NewShot) -> None:
    check_new_shot(new)
    if _number(connection, shot.project, new.scene, new.shot) not in (None, shot.number):
        raise ProjectError(f"There is a shot '{new.shot}' in that scene already; choose another id.")


def _number(connection: sqlite3.Connection, project: str, scene: str, shot: str) -> int | None:
    query = "SELECT number FROM shots WHERE project = ? AND scene = ? AND shot = ?"
    row = connection.execute(query, (project, scene, shot)).fetchone()
    return row["number"] if row else None


def _listed(shots: Sequence[Shot]) -> str:
    named = [f"{shot.address} of {shot.project or 'the default project'}" for shot in shots[:6]]
    return f"{', '.join(named)}; write SCENE/SHOT, or name the project by --project"
