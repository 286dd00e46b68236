"""Which networks for larger frames there are: the one that comes with the studio, and files that people put there."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.errors import ModelError
from wan_pipeline.models.weights import DamagedFileError, read_header

BUNDLED = "realesr-animevideov3"
SUFFIX = ".safetensors"
PICKLES = (".pth", ".pt", ".ckpt", ".bin")


def list_upscalers(folder: Path) -> tuple[str, ...]:
    """Names of all that can be chosen: the bundled one, then the files of the folder, without their ending."""
    found = sorted(path.stem for path in folder.glob(f"*{SUFFIX}") if path.is_file()) if folder.is_dir() else []
    return (BUNDLED, *(name for name in found if name != BUNDLED))


def upscaler_file(folder: Path, name: str) -> Path | None:
    """The file of a name; None for the bundled one, which an empty name stands for too.

    Raises ModelError for a name that is not there, and for files that are no safetensors.
    """
    stem = name.removesuffix(SUFFIX)
    if stem in ("", BUNDLED):
        return None
    if stem in list_upscalers(folder):
        path = folder / f"{stem}{SUFFIX}"
        try:
            read_header(path)
        except (DamagedFileError, OSError) as error:
            raise ModelError(f"{path.name} cannot be read: {error}; download it again.") from error
        return path
    bare = Path(name).stem if Path(name).suffix in PICKLES else stem
    if any((folder / f"{Path(bare).name}{ending}").is_file() for ending in PICKLES):
        raise ModelError(
            f"{Path(bare).name} is a pickle, and those can run any code; convert it to {SUFFIX} where you trust it, "
            f"as chaiNNer does, and put that into {folder}."
        )
    known = ", ".join(list_upscalers(folder))
    raise ModelError(
        f"There is no upscaler '{name[:80]}'; choose one of: {known}, or put a {SUFFIX} file into {folder}."
    )
