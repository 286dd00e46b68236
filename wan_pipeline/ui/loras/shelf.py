"""Which LoRAs the room shows: those that a search and filters find, with what is known of each.

Of 5,000 files only those shown are read, and of them as many as a moment allows: the next look goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from wan_pipeline.lora.facts import LoraFacts
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.parts.lora import LoraFit, fit_of
from wan_pipeline.ui.loras.pictures import CardPictures

PAGE_SIZE = 24
"""Cards shown at first, and added by each "Show more"."""
QUICK = 0.1
"""Seconds that a first look may read files for."""
THOROUGH = 1.0
"""Seconds between later ones, in the background."""
HASH_CHARACTERS = 10


@dataclass(frozen=True)
class Query:
    """What to show. Empty texts match all, and so does a folder that is gone."""

    text: str = ""
    folder: str = ""
    fits: bool = False
    limit: int = PAGE_SIZE


@dataclass(frozen=True)
class LoraCard:
    """One LoRA as the room shows it."""

    facts: LoraFacts
    is_read: bool
    """Whether there was time for its file; else the facts are only its name."""
    fit: LoraFit
    folder: str
    """Where it is, below the folders of LoRAs; empty for one that is in none of theirs."""
    poster: Path | None
    """Poster of the newest clip made with it."""
    picture: Path | None
    """A thumbnail of the picture beside its file."""
    sha256: str
    """Hash of its first file, shortened; empty until it is known."""
    note: str


@dataclass(frozen=True)
class Shelf:
    """The cards of a query."""

    cards: tuple[LoraCard, ...]
    total: int
    """LoRAs that match; of what takes reading files those found so far."""
    looked_at: int | None
    """How many files were read to find those that match, while that is not done; None when it is."""
    in_all: int
    folders: tuple[str, ...]
    """Folders to filter by."""

    @property
    def settled(self) -> Shelf:
        """The shelf without hashes until all are known: so the cards are not drawn again for each of them."""
        if all(card.sha256 for card in self.cards if card.is_read):
            return self
        return replace(self, cards=tuple(replace(card, sha256="") for card in self.cards))


class LoraShelves:
    """Finds cards."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._read: set[tuple[Lora, str]] = set()
        """LoRAs whose facts the catalog knows, each with the id of the model."""
        self._pictures = CardPictures()

    def find(self, query: Query, model: InstalledModel | None, seconds: float = QUICK) -> Shelf:
        """`seconds` is the longest that it may read files."""
        ends = time.monotonic() + seconds
        loras = self._studio.loras.all()
        folders = {lora: self._folder(lora) for lora in loras}
        self._read = {known for known in tuple(self._read) if known[0] in folders}
        posters, notes = self._studio.gallery.newest_posters(), self._studio.lora_notes.all()
        folder = query.folder if query.folder in folders.values() else ""
        there = [lora for lora in loras if folder in ("", folders[lora])]
        found, looked_at = self._matching(there, query.text.casefold().split(), notes, query.limit, ends)
        if query.fits:
            found, not_fitted = self._fitting(found, model, query.limit, ends)
            looked_at = looked_at if not_fitted is None else not_fitted
        cards = []
        for lora in found[: query.limit]:
            facts, sha256 = self._facts(lora, model, ends), self._known_sha256(lora)
            cards.append(
                LoraCard(
                    facts or LoraFacts(lora.name, lora.paths),
                    is_read=facts is not None,
                    fit=fit_of(facts, model) if facts else LoraFit(),
                    folder=folders[lora],
                    poster=posters.get(lora.name.casefold()),
                    picture=self._pictures.small(lora, ends),
                    sha256=sha256[:HASH_CHARACTERS],
                    note=notes.get(sha256, ""),
                )
            )
        in_use = tuple(sorted(set(folders.values()) - {""}))
        return Shelf(tuple(cards), len(found), looked_at, len(loras), in_use)

    def hashed(self, shelf: Shelf, seconds: float) -> Shelf:
        """The shelf with the hashes and notes of files that lacked them, as far as time allows, of one at least.

        A large file takes a second or so.
        """
        ends = time.monotonic() + seconds
        notes, cards = self._studio.lora_notes.all(), list(shelf.cards)
        for place, card in enumerate(cards):
            if card.is_read and not card.sha256:
                with suppress(OSError):  # it has gone: the next look shows that
                    sha256 = self._studio.lora_catalog.sha256(card.facts.paths[0])
                    cards[place] = replace(card, sha256=sha256[:HASH_CHARACTERS], note=notes.get(sha256, ""))
                if time.monotonic() > ends:
                    break
        return replace(shelf, cards=tuple(cards))

    def _matching(
        self,
        loras: Sequence[Lora],
        words: Sequence[str],
        notes: Mapping[str, str],
        limit: int,
        ends: float,
    ) -> tuple[Sequence[Lora], int | None]:
        """LoRAs with all words in name, note, base or trigger words: by name and note first, as that reads no file.

        Others are read while there are no more than `limit`; and the number read, if time ran out before that.
        """
        if not words:
            return loras, None
        noted = {sha256: note for sha256, note in notes.items() if any(word in note.casefold() for word in words)}
        plain = {lora: f"{lora.name} {noted.get(self._known_sha256(lora), '') if noted else ''}" for lora in loras}
        found = [lora for lora, text in plain.items() if _has_all(text, words)]
        others = [lora for lora, text in plain.items() if not _has_all(text, words)]
        for number, lora in enumerate(others):
            if len(found) > limit:
                break
            facts = None if time.monotonic() > ends else self._facts(lora, None, ends)
            if facts is None:
                return found, number
            if _has_all(" ".join((plain[lora], facts.base, *facts.trigger_words)), words):
                found.append(lora)
        return found, None

    def _fitting(
        self, loras: Sequence[Lora], model: InstalledModel | None, limit: int, ends: float
    ) -> tuple[list[Lora], int | None]:
        """LoRAs that fit, at most one more than `limit`, and how many were read if time ran out."""
        found: list[Lora] = []
        for number, lora in enumerate(loras):
            if len(found) > limit:
                break
            # To see that a known file is the same takes time too.
            facts = None if time.monotonic() > ends else self._facts(lora, model, ends)
            if facts is None:
                return found, number
            if not facts.problem:
                found.append(lora)
        return found, None

    def _facts(self, lora: Lora, model: InstalledModel | None, ends: float) -> LoraFacts | None:
        """None if they are not known and time has run out."""
        key = lora, model.spec.id if model else ""
        if key not in self._read and time.monotonic() > ends:
            return None
        self._read.add(key)
        return self._studio.lora_catalog.facts(lora, model)

    def _known_sha256(self, lora: Lora) -> str:
        try:
            return self._studio.lora_catalog.known_sha256(lora.paths[0]) or ""
        except OSError:  # it has gone: the next look shows that
            return ""

    def _folder(self, lora: Lora) -> str:
        """The folder as the page calls it: below which of the folders of LoRAs, where there are several, and where."""
        below = lora.name.rpartition("/")[0]
        roots = self._studio.loras.folders
        if len(roots) == 1:
            return below
        root = next((root for root in roots if lora.paths[0].is_relative_to(root)), roots[0])
        return f"{root.name}/{below}" if below else root.name


def _has_all(text: str, words: Sequence[str]) -> bool:
    text = text.casefold()
    return all(word in text for word in words)
