"""Shots and drafts that jobs belong to, and the names of their clips. The functions run in the caller's transaction."""

from __future__ import annotations

import sqlite3

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import Links, Names


def add_links(connection: sqlite3.Connection, job_id: str, links: Links) -> int:
    """Note what a new job belongs to, and return the number of its take; 0 for a clip of no shot.

    Raises UserError for a number that another take of the shot has.
    """
    if links.final_of:
        connection.execute("INSERT INTO finals (id, draft) VALUES (?, ?)", (job_id, links.final_of))
    if not links.shot:
        return 0
    newest = connection.execute("SELECT coalesce(max(take), 0) FROM takes WHERE shot = ?", (links.shot,)).fetchone()[0]
    take = links.take or int(newest) + 1
    taken = "SELECT 1 FROM takes WHERE shot = ? AND take = ?"
    if connection.execute(taken, (links.shot, take)).fetchone():
        raise UserError(f"There is a take {take} of that shot already; leave the number out, and it is {newest + 1}.")
    connection.execute("INSERT INTO takes (id, shot, take) VALUES (?, ?, ?)", (job_id, links.shot, take))
    return take


def take_number(connection: sqlite3.Connection, job_id: str) -> int:
    """The number of a job's take; 0 for a clip of no shot."""
    row = connection.execute("SELECT take FROM takes WHERE id = ?", (job_id,)).fetchone()
    return int(row["take"]) if row else 0


def free_name(connection: sqlite3.Connection, names: Names | None, job_id: str, project: str, take: int) -> str:
    """The first name that no other job or clip has; empty for the usual name. `job_id` may be that of a new job.

    A job has its name from the start, before there is a file, and keeps it when it fails: it may be retried.
    """
    if names is None:
        return ""
    counted = (
        "SELECT count(*) FROM jobs WHERE clip_name != '' AND project = ?1 "
        "AND number < ifnull((SELECT number FROM jobs WHERE id = ?2), 9e18)"
    )
    earlier = connection.execute(counted, (project, job_id)).fetchone()[0]
    taken = (
        "SELECT 1 FROM jobs WHERE clip_name != '' AND clip_name = ?1 AND id != ?2 "
        "UNION ALL SELECT 1 FROM clips WHERE clip = ?1 || '.mp4' AND id != ?2"
    )
    free = (name for name in names(earlier, take) if not connection.execute(taken, (name, job_id)).fetchone())
    return next(free, "")
