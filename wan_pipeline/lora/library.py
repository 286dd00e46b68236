"""The adapters in the LoRA folder, by name. No torch."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.errors import LoraError


class LoraLibrary:
    """Names are the stems of `*.safetensors` files, told apart without regard to case, as on Windows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Every adapter's name, sorted. Of two that differ only in case, the first counts."""
        return sorted((path.stem for path in self._files().values()), key=str.casefold)

    def path(self, name: str) -> Path:
        """The adapter's file. Raises LoraError for a name that is not in the folder; a path is never a name."""
        try:
            return self._files()[name.casefold()]
        except KeyError:
            offer = ", ".join(self.names()) or "none yet"
            raise LoraError(f"There is no LoRA '{name[:80]}' in {self._folder}; it holds: {offer}.") from None

    def _files(self) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for path in sorted(self._folder.glob("*.safetensors")):
            if path.is_file():
                files.setdefault(path.stem.casefold(), path)
        return files
