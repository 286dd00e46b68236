"""Questions that many drafts in a row ask, answered once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from wan_pipeline.errors import UserError
from wan_pipeline.requests.inputs.pictures import Pictures

Keys = TypeVarTuple("Keys")
Value = TypeVar("Value")


def once_each(function: Callable[[*Keys], Value]) -> Callable[[*Keys], Value]:
    """Call the function once for each set of arguments; what it returned or raised for them comes again."""
    outcomes: dict[object, Value | UserError] = {}

    def call(*keys: *Keys) -> Value:
        if keys not in outcomes:
            try:
                outcomes[keys] = function(*keys)
            except UserError as error:
                outcomes[keys] = error
        outcome = outcomes[keys]
        if isinstance(outcome, UserError):
            raise outcome.with_traceback(None)
        return outcome

    return call


class PicturesOnce:
    """Pictures of a batch of clips: each file is read, and saved, once."""

    def __init__(self, pictures: Pictures) -> None:
        self.measure: Callable[[Path], tuple[int, int]] = once_each(pictures.measure)
        self.check_still: Callable[[Path], None] = once_each(pictures.check_still)
        self.check_video: Callable[[Path, str], None] = once_each(pictures.check_video)
        self.check_length: Callable[[Path, str, int, int], None] = once_each(pictures.check_length)
        self.save_picture: Callable[[Path], str] = once_each(pictures.save_picture)
        self.save_video: Callable[[Path, int], str] = once_each(pictures.save_video)
        self.find: Callable[[str], Path | None] = pictures.find
