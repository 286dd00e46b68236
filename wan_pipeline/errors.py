"""The error tree. A user error states the value, the rule and the way out, in one sentence for one reader.

All of them can be pickled, for one may come from another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StudioError(Exception):
    """Anything this project raises on purpose."""


class UserError(StudioError):
    """Something the user can put right; its text is shown to them unchanged."""


class RequestError(UserError):
    """A setting outside what the model or the rules allow. `field` names the setting, for the form to point at."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[type[RequestError], tuple[str, str]]:
        return type(self), (self.field, str(self))


class ImageError(UserError):
    """An input picture or video that cannot be used. `field` names the setting that holds it, where it is known."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field

    def at(self, field: str) -> ImageError:
        """The same error of a setting that is known now."""
        return type(self)(str(self), field)

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (str(self), self.field)


class PresetError(UserError):
    """A preset file that cannot be read, or a preset name that does not exist."""


class ProjectError(UserError):
    """A project file that cannot be read, or a project that does not exist or has a name that cannot be one."""


class LoraError(UserError):
    """A LoRA file that is missing, unsafe, damaged, or fits nothing in the chosen model."""


class ReceiptError(UserError):
    """A clip without a receipt, or with one that cannot be read."""


class NoReceiptError(ReceiptError):
    """A clip without a receipt of this studio."""


class ModelError(UserError):
    """A model that is unknown, not installed, or whose files do not hold together."""


class StorageError(UserError):
    """The disk refused: full, read-only, or not there."""


class DiskFullError(StorageError):
    """A disk without room for what is to be written. The queue waits until it has some."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder

    def __reduce__(self) -> tuple[type[DiskFullError], tuple[str, Path]]:
        return type(self), (str(self), self.folder)


class DamagedDatabaseError(StorageError):
    """The workspace's database is corrupt; `storage.backups.repair_if_corrupt` restores its newest backup."""


class LookingOnError(UserError):
    """A change that is up to another app, which opened this workspace first."""


class GenerationError(StudioError):
    """The model ran and the result is unusable (NaN latents, out of memory)."""


class OutOfMemory(GenerationError):
    """The device had no room. To be tried again in a fresh process, for what an allocator keeps is not given back."""

    def __init__(self, message: str, smaller_plan: str | None) -> None:
        """`smaller_plan` names the memory plan to try next; None if no plan takes less."""
        super().__init__(message)
        self.smaller_plan = smaller_plan

    def __reduce__(self) -> tuple[type[OutOfMemory], tuple[str, str | None]]:
        return type(self), (str(self), self.smaller_plan)


class NodeLost(StudioError):
    """The machine that was making a clip is gone, or what it sent is damaged. Another goes on with the clip."""


class Cancelled(StudioError):
    """The person asked this clip to stop. Raised from the step callback: the clean way out of a diffusers loop."""
