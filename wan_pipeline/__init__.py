"""Wan Studio: text and images into video with Alibaba's open Wan models, on one workstation.

`generate` makes one clip in this process; a `Studio` is a workspace with a queue, as the page and the command line
use it. Names that need more than the standard library are imported when they are first used, so importing this
package is quick and takes no torch.

    from wan_pipeline import Draft, Settings, Studio, generate

    print(generate("a red balloon flies up over green hills", seed=7).clip)

    with Studio(Settings(workspace=Path("films"))) as studio:
        studio.submit(Draft(prompt="a pink fish circles in the sea"))
        studio.work(lambda: None)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wan_pipeline.errors import (
    Cancelled,
    DamagedDatabaseError,
    DiskFullError,
    GenerationError,
    ImageError,
    LookingOnError,
    LoraError,
    ModelError,
    NodeLost,
    NoReceiptError,
    OutOfMemory,
    PresetError,
    ProjectError,
    ReceiptError,
    RequestError,
    StorageError,
    StudioError,
    UserError,
)
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.jobs.job import Finished
    from wan_pipeline.models.spec import ModelSpec
    from wan_pipeline.oneshot import generate
    from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
    from wan_pipeline.studio import Studio

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "DamagedDatabaseError",
    "DiskFullError",
    "Draft",
    "Finished",
    "GenerationError",
    "GenerationRequest",
    "ImageError",
    "LookingOnError",
    "LoraChoice",
    "LoraError",
    "ModelError",
    "ModelSpec",
    "NoReceiptError",
    "NodeLost",
    "OutOfMemory",
    "PresetError",
    "ProjectError",
    "ReceiptError",
    "RequestError",
    "Settings",
    "StorageError",
    "Studio",
    "StudioError",
    "UserError",
    "__version__",
    "generate",
]

_LAZY = {
    "Draft": "requests.request",
    "Finished": "jobs.job",
    "GenerationRequest": "requests.request",
    "LoraChoice": "requests.request",
    "ModelSpec": "models.spec",
    "Studio": "studio",
    "generate": "oneshot",
}
"""Modules of the names above that are not imported yet."""


def __getattr__(name: str) -> Any:
    """Import a name on first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
