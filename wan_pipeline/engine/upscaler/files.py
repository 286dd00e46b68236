"""Which networks for larger frames there are: the one that comes with the studio, and what people put there."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.engine.network_files.folder import NetworkFolder

BUNDLED = "realesr-animevideov3"


def upscalers_in(folder: Path) -> NetworkFolder:
    """What can be chosen; `folder` is that of the settings. A folder in it is SeedVR2, a file any other network."""
    return NetworkFolder(folder, "upscaler", BUNDLED, "as chaiNNer does", takes_folders=True)
