"""The tables of a workspace's database, and the migrations of older ones."""

from __future__ import annotations

import sqlite3

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.schema_shots import SHOTS

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        model TEXT NOT NULL,
        request TEXT NOT NULL,
        created_at TEXT NOT NULL,
        started_at TEXT,
        finished_at TEXT,
        stage TEXT NOT NULL,
        step INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0,
        eta_seconds REAL,
        preview_version INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        clip TEXT,
        poster TEXT,
        frames_sha256 TEXT,
        seconds TEXT NOT NULL DEFAULT '{}',
        warnings TEXT NOT NULL DEFAULT '[]'
    );
    CREATE INDEX jobs_by_state ON jobs (state, number);
    """,
    """
    ALTER TABLE jobs ADD COLUMN position REAL NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN project TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN plan TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN plan_steps_down INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN resumed_from INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN overtaken INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0;
    UPDATE jobs SET position = number;
    DROP INDEX jobs_by_state;
    CREATE INDEX jobs_by_place ON jobs (position);
    CREATE INDEX jobs_by_state ON jobs (state, position);
    CREATE INDEX jobs_by_model ON jobs (state, model, number);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX events_by_job ON events (job_id, id);
    CREATE TABLE queue (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    );
    CREATE TABLE clips (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        clip TEXT NOT NULL UNIQUE,
        poster TEXT NOT NULL,
        made_at TEXT NOT NULL,
        request TEXT NOT NULL,
        prompt TEXT NOT NULL,
        model TEXT NOT NULL,
        preset TEXT NOT NULL,
        project TEXT NOT NULL,
        loras TEXT NOT NULL,
        words TEXT NOT NULL,
        seconds REAL NOT NULL,
        frames_sha256 TEXT NOT NULL,
        starred INTEGER NOT NULL DEFAULT 0,
        note TEXT NOT NULL DEFAULT '',
        binned_at TEXT
    );
    CREATE INDEX clips_by_age ON clips (binned_at, number);
    CREATE INDEX clips_by_name ON clips (clip, id, binned_at);
    CREATE INDEX clips_by_facet ON clips (binned_at, project, model, preset, loras);
    """,
    """
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        hash TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL,
        project TEXT NOT NULL,
        max_clips INTEGER,
        created_at TEXT NOT NULL,
        expires_at TEXT,
        last_used_at TEXT
    );
    ALTER TABLE jobs ADD COLUMN made_by TEXT NOT NULL DEFAULT '';
    ALTER TABLE clips ADD COLUMN made_by TEXT NOT NULL DEFAULT '';
    CREATE INDEX jobs_by_maker ON jobs (made_by, number);
    CREATE TABLE comments (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        clip_id TEXT NOT NULL,
        key_id TEXT NOT NULL,
        at TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE INDEX comments_by_clip ON comments (clip_id, id);
    """,
    """
    ALTER TABLE jobs ADD COLUMN note TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN deterministic INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE jobs ADD COLUMN clip_name TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN output TEXT NOT NULL DEFAULT '';
    CREATE INDEX jobs_by_clip_name ON jobs (clip_name, project) WHERE clip_name != '';
    """,
    """
    CREATE TABLE lora_notes (
        sha256 TEXT PRIMARY KEY,
        note TEXT NOT NULL
    );
    """,
    """
    CREATE TABLE trainings (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        name TEXT NOT NULL,
        request TEXT NOT NULL,
        prompts TEXT NOT NULL DEFAULT '[]',
        created_at TEXT NOT NULL,
        started_at TEXT,
        finished_at TEXT,
        stage TEXT NOT NULL DEFAULT '',
        step INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0,
        eta_seconds REAL,
        step_seconds REAL,
        memory_gib REAL,
        note TEXT NOT NULL DEFAULT '',
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        deaths INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        result TEXT NOT NULL DEFAULT '',
        warnings TEXT NOT NULL DEFAULT '[]'
    );
    CREATE INDEX trainings_by_state ON trainings (state, number);
    CREATE TABLE training_points (
        training TEXT NOT NULL,
        step INTEGER NOT NULL,
        loss REAL,
        rate REAL,
        validation REAL,
        PRIMARY KEY (training, step)
    ) WITHOUT ROWID;
    """,
    SHOTS,
    """
    ALTER TABLE jobs ADD COLUMN slot INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE jobs ADD COLUMN branches INTEGER NOT NULL DEFAULT 1;
    """,
    """
    ALTER TABLE jobs ADD COLUMN post_processing TEXT NOT NULL DEFAULT '{}';
    CREATE TABLE clip_works (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        clip_id TEXT NOT NULL,
        state TEXT NOT NULL,
        work TEXT NOT NULL,
        deaths INTEGER NOT NULL DEFAULT 0,
        stop_requested INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL
    );
    CREATE INDEX clip_works_by_clip ON clip_works (clip_id, number);
    CREATE INDEX clip_works_by_state ON clip_works (state, number);
    """,
    """
    ALTER TABLE jobs ADD COLUMN split INTEGER NOT NULL DEFAULT 1;
    """,
)
"""Entry n migrates a database from `user_version` n to n + 1. Never edit one that has shipped; append."""


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate the database to the newest version, each step in one transaction.

    Raises StorageError, and changes nothing, if a newer version of this program wrote the file.
    """
    while (version := schema_of(connection)) != len(MIGRATIONS):
        if version > len(MIGRATIONS):
            raise StorageError(
                f"The workspace's database was made by a newer Wan Studio (schema {version}; this one knows "
                f"{len(MIGRATIONS)}); update this one, or choose another workspace with --workspace."
            )
        _apply(connection, version)


def _apply(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if schema_of(connection) == version:  # unless another process did it while this one waited for the lock
            for statement in MIGRATIONS[version].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def schema_of(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 if there are none."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
