"""The workspace on disk: whole files, database and backups, hashes, locks, crash points; data from outside."""
