"""What a person notes on LoRA files, by hash: a note stays with its file, whatever that is called later. No torch."""

from __future__ import annotations

from wan_pipeline.errors import LoraError
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked

MAX_NOTE_CHARACTERS = 2000


class LoraNotes:
    """Notes of one workspace. Every method raises StorageError if the database cannot be used."""

    def __init__(self, database: Database, check_main_app: CheckMainApp = unchecked) -> None:
        self._database = database
        self._check_main_app = check_main_app

    def all(self) -> dict[str, str]:
        """All notes, by the SHA-256 of the file."""
        with self._database.connection() as connection:
            return {row["sha256"]: row["note"] for row in connection.execute("SELECT sha256, note FROM lora_notes")}

    @main_app_only
    def write(self, sha256: str, text: str) -> None:
        """Blank text removes the note. Raises LoraError for one that is too long or no text."""
        text = text.strip()
        if len(text) > MAX_NOTE_CHARACTERS:
            raise LoraError(
                f"The note has {len(text):,} characters; at most {MAX_NOTE_CHARACTERS:,} are allowed: shorten it."
            )
        if not all(letter.isprintable() or letter in "\n\r\t" for letter in text):
            raise LoraError("The note holds characters that are not text; remove them.")
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM lora_notes WHERE sha256 = ?", (sha256,))
            if text:
                connection.execute("INSERT INTO lora_notes (sha256, note) VALUES (?, ?)", (sha256, text))
