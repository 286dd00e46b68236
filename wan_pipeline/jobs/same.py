"""Clips that are there, or will be, with the very request of another: they are shared instead of made again."""

from __future__ import annotations

from collections.abc import Sequence

from wan_pipeline.jobs.job import UNFINISHED, JobState
from wan_pipeline.jobs.table.rows import sql_list
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.database import Database

_PLAIN = "json_remove({}, '$.layers', '$.notes')"
"""A stored request without what decides no frames."""


def same_requests(database: Database, requests: Sequence[GenerationRequest], project: str) -> list[str | None]:
    """For each request the newest job of the project with it that waits, runs or has a clip, by its id; else None.

    Raises StorageError when the database cannot be used.
    """
    states = sql_list((*UNFINISHED, JobState.DONE))
    query = (
        f"SELECT id, {_PLAIN.format('request')} AS plain FROM jobs WHERE project = ? AND json_valid(request) "  # noqa: S608
        f"AND state IN {states} AND id NOT IN (SELECT id FROM clips WHERE binned_at IS NOT NULL) "
        "AND (state != 'done' OR id IN (SELECT id FROM clips)) ORDER BY number"
    )
    with database.connection() as connection:
        known = {row["plain"]: row["id"] for row in connection.execute(query, (project,))}
        own = f"SELECT {_PLAIN.format('json(?)')} AS plain"
        return [known.get(connection.execute(own, (request.to_json(),)).fetchone()["plain"]) for request in requests]
