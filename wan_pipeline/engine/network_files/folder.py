"""A folder of safetensors networks, beside what comes with the studio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import ModelError
from wan_pipeline.models.weights import DamagedFileError, read_header

SUFFIX = ".safetensors"
PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")


@dataclass(frozen=True)
class NetworkFolder:
    """What can be chosen of one kind: the studio's own, then the files that people put into the folder."""

    path: Path
    kind: str
    """What a file of it is called in a sentence, such as "upscaler"."""
    own: str
    """Name of what comes with the studio, which an empty name stands for too."""
    conversion: str
    """How a pickle becomes safetensors: the end of a sentence."""
    takes_folders: bool = False
    """Whether a network may be several files, in a folder of its own."""

    def names(self) -> tuple[str, ...]:
        """All that can be chosen, the studio's own first; files without their ending."""
        found = {*self._files(), *(self._folders() if self.takes_folders else ())}
        names = sorted(found)
        return (self.own, *(name for name in names if name != self.own))

    def find(self, name: str) -> Path | None:
        """The file of a name, or its folder; None for the studio's own.

        Raises ModelError for a name that is not there, and for files that are no safetensors.
        """
        stem = name.removesuffix(SUFFIX)
        if stem in ("", self.own):
            return None
        if stem not in self.names():
            raise self._missing(name)
        path = self.path / f"{stem}{SUFFIX}"
        if stem not in self._files():
            return self.path / stem
        try:
            read_header(path)
        except (DamagedFileError, OSError) as error:
            raise ModelError(f"{path.name} cannot be read: {error}; download it again.") from error
        return path

    def _files(self) -> list[str]:
        files = self.path.glob(f"*{SUFFIX}") if self.path.is_dir() else ()
        return [file.stem for file in files if file.is_file()]

    def _folders(self) -> set[str]:
        files = self.path.glob(f"*/*{SUFFIX}") if self.path.is_dir() else ()
        return {file.parent.name for file in files if file.is_file()}

    def _missing(self, name: str) -> ModelError:
        bare = Path(name).stem if Path(name).suffix in PICKLES else name.removesuffix(SUFFIX)
        bare = Path(bare).name  # only files of the folder itself are looked for
        if any((self.path / f"{bare}{ending}").is_file() for ending in PICKLES):
            return ModelError(
                f"{bare} is a pickle, and those can run any code; convert it to {SUFFIX} where you trust it, "
                f"{self.conversion}, and put that into {self.path}."
            )
        known = ", ".join(self.names())
        more = f"a {SUFFIX} file, or a folder of them," if self.takes_folders else f"a {SUFFIX} file"
        return ModelError(
            f"There is no {self.kind} '{name[:80]}'; choose one of: {known}, or put {more} into {self.path}."
        )
