"""The workspace on disk: whole files, the SQLite database and its backups, hashes, locks, crash points."""
