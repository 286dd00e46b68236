"""LoRA files that a person adds, or says more about: checked first, then copied whole or not at all. No torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.experts import Expert
from wan_pipeline.lora.facts import LoraCatalog
from wan_pipeline.lora.library import SUFFIX, LoraLibrary
from wan_pipeline.lora.pairs import Lora
from wan_pipeline.lora.reading.header import read_lora_header
from wan_pipeline.lora.reading.values import ValueReader, check_values
from wan_pipeline.models.names import is_text
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked


class LoraFiles:
    """Changes the files of a library."""

    def __init__(self, library: LoraLibrary, catalog: LoraCatalog, check_main_app: CheckMainApp = unchecked) -> None:
        self._library, self._catalog, self._check_main_app = library, catalog, check_main_app

    @main_app_only
    def add(self, source: Path) -> str:
        """Copy a file into the first folder of the library, under its own name, which is returned.

        Raises LoraError for a file that is not a LoRA or holds NaNs, or whose name is taken, and StorageError
        for a disk that refuses it.
        """
        name = source.stem
        if source.suffix != SUFFIX or not is_text(name):
            raise LoraError(f"'{source.name[:80]}' is no LoRA file; choose one that ends in {SUFFIX}.")
        if name.casefold() in self._library.taken_names():
            raise LoraError(
                f"There is a LoRA '{name}' in the folders already; rename the new file, or remove the old one."
            )
        facts = self._catalog.facts(Lora(name, source, source))
        if facts.problem:
            raise LoraError(facts.problem)
        check_values(source, read_lora_header(source), ValueReader())
        with whole_file(self._library.folder / source.name) as part:
            shutil.copyfile(source, part)
        return name

    @main_app_only
    def remember_expert(self, path: Path, expert: Expert) -> None:
        """Note which expert a file is for, as a person says. Raises LoraError for a file that cannot be read."""
        try:
            self._library.remember_expert(self._catalog.sha256(path), expert)
        except OSError as error:
            raise LoraError(f"LoRA '{path.stem}' cannot be read: {error}; download or export it again.") from error
