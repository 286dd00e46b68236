"""Methods that only the main app of a workspace may call, where several apps are open on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

CheckMainApp = Callable[[], None]
"""Raises LookingOnError in a viewer app."""


def unchecked() -> None:
    """For a process that is no app, such as a command or the worker: it may do everything."""


class HasCheck(Protocol):
    """An object whose methods may be for the main app only."""

    _check_main_app: CheckMainApp


S = TypeVar("S", bound=HasCheck)
P = ParamSpec("P")
R = TypeVar("R")


def main_app_only(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Refuse the method in a viewer app: it raises LookingOnError there and does nothing."""

    @wraps(method)
    def checked(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._check_main_app()
        return method(self, *args, **kwargs)

    return checked
