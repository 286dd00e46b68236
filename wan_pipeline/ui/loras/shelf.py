"""Which LoRAs the room shows: those that a search and filters find, with what is known of each.

Of 5,000 files only those shown are read, and for "fits the model" as many as a moment allows: the next look goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.lora.facts import LoraFacts
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.lora import LoraFit, fit_of

PAGE_SIZE = 24
"""Cards shown at first, and added by each "Show more"."""
LOOK_SECONDS = 0.25
"""The longest that one look may read files to find those that fit."""
HASH_CHARACTERS = 10


@dataclass(frozen=True)
class Query:
    """What to show. Empty texts match all."""

    text: str = ""
    folder: str = ""
    fits: bool = False
    limit: int = PAGE_SIZE


@dataclass(frozen=True)
class LoraCard:
    """One LoRA as the room shows it."""

    facts: LoraFacts
    fit: LoraFit
    folder: str
    """Where it is, below the folders of LoRAs; empty for one that is in none of theirs."""
    poster: Path | None
    """Of the newest clip made with it."""
    sha256: str
    """Of its first file, shortened; empty while that is not known."""
    note: str


@dataclass(frozen=True)
class Shelf:
    """The cards of a query."""

    cards: tuple[LoraCard, ...]
    total: int
    """LoRAs that match; of "fits the model" those found so far."""
    looked_at: int | None
    """How many files were read to find those that fit, while that is not done; None when it is."""
    in_all: int
    folders: tuple[str, ...]
    """To filter by."""


class LoraShelves:
    """Finds cards. Remembers what a model takes of a file, as long as both stay as they are."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._known: dict[tuple[Lora, str], tuple[list[tuple[int, int]], LoraFacts]] = {}

    def find(self, query: Query, model: InstalledModel | None) -> Shelf:
        loras = self._studio.loras.all()
        folders = {lora: self._folder(lora) for lora in loras}
        words = query.text.casefold().split()
        matching = [
            lora
            for lora in loras
            if all(word in lora.name.casefold() for word in words) and query.folder in ("", folders[lora])
        ]
        found, looked_at = self._fitting(matching, model, query.limit) if query.fits else (matching, None)
        posters, notes = self._studio.gallery.newest_posters(), self._studio.lora_notes.all()
        cards = tuple(self._card(lora, model, folders[lora], posters, notes) for lora in found[: query.limit])
        return Shelf(cards, len(found), looked_at, len(loras), tuple(sorted(filter(None, set(folders.values())))))

    def hash_next(self, shelf: Shelf) -> None:
        """Hash a file that is shown without its hash, if there is one: for a large one that takes a second or so."""
        path = next((card.facts.paths[0] for card in shelf.cards if not card.sha256), None)
        if path is not None:
            with suppress(OSError):  # it has gone: the next look shows that
                self._studio.lora_catalog.sha256(path)

    def _fitting(
        self, loras: Sequence[Lora], model: InstalledModel | None, limit: int
    ) -> tuple[list[Lora], int | None]:
        """Those that fit, one more than `limit` at most, and how many were read if time ran out before."""
        ends, found = time.monotonic() + LOOK_SECONDS, list[Lora]()
        for number, lora in enumerate(loras):
            if len(found) > limit:
                break
            if time.monotonic() > ends:
                return found, number
            if not self.facts(lora, model).problem:
                found.append(lora)
        return found, None

    def facts(self, lora: Lora, model: InstalledModel | None) -> LoraFacts:
        key = lora, model.spec.id if model else ""
        state = list(_states(lora.paths))
        known = self._known.get(key)
        if known is None or known[0] != state:
            known = self._known[key] = state, self._studio.lora_catalog.facts(lora, model)
        return known[1]

    def _card(
        self,
        lora: Lora,
        model: InstalledModel | None,
        folder: str,
        posters: Mapping[str, Path],
        notes: Mapping[str, str],
    ) -> LoraCard:
        facts, sha256 = self.facts(lora, model), ""
        with suppress(OSError):  # it has gone: the next look shows that
            sha256 = self._studio.lora_catalog.known_sha256(lora.paths[0]) or ""
        poster = posters.get(lora.name.casefold())
        return LoraCard(facts, fit_of(facts, model), folder, poster, sha256[:HASH_CHARACTERS], notes.get(sha256, ""))

    def _folder(self, lora: Lora) -> str:
        """The folder as the page calls it: below which of the folders of LoRAs, where there are several, and where."""
        below = lora.name.rpartition("/")[0]
        roots = self._studio.loras.folders
        if len(roots) == 1:
            return below
        root = next((root for root in roots if lora.paths[0].is_relative_to(root)), roots[0])
        return f"{root.name}/{below}" if below else root.name


def _states(paths: Sequence[Path]) -> Iterator[tuple[int, int]]:
    for path in paths:
        try:
            facts = path.stat()
        except OSError:  # it has gone
            yield 0, 0
        else:
            yield facts.st_size, facts.st_mtime_ns
