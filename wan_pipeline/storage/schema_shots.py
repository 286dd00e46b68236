"""The migration that brings shots, takes, finals, ratings and review. `schema.MIGRATIONS` says at which place."""

SHOTS = """
    CREATE TABLE shots (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        project TEXT NOT NULL,
        scene TEXT NOT NULL,
        shot TEXT NOT NULL,
        position REAL NOT NULL,
        description TEXT NOT NULL DEFAULT '',
        notes TEXT NOT NULL DEFAULT '',
        settings TEXT NOT NULL DEFAULT '{}',
        picked TEXT NOT NULL DEFAULT '',
        UNIQUE (project, scene, shot)
    );
    CREATE INDEX shots_by_place ON shots (project, position);
    CREATE TABLE takes (
        id TEXT PRIMARY KEY,
        shot INTEGER NOT NULL,
        take INTEGER NOT NULL,
        UNIQUE (shot, take)
    );
    CREATE TABLE finals (
        id TEXT PRIMARY KEY,
        draft TEXT NOT NULL
    );
    CREATE INDEX finals_by_draft ON finals (draft);
    ALTER TABLE clips ADD COLUMN rating INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE clips ADD COLUMN rejected INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE comments ADD COLUMN frame INTEGER;
    ALTER TABLE comments ADD COLUMN mark TEXT NOT NULL DEFAULT '';
    ALTER TABLE comments ADD COLUMN done INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        clip_id TEXT NOT NULL,
        key_id TEXT NOT NULL,
        at TEXT NOT NULL,
        verdict TEXT NOT NULL
    );
    CREATE INDEX verdicts_by_clip ON verdicts (clip_id, id);
"""
