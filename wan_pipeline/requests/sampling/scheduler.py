"""The solvers to choose from, by name. Light to import: the command line's --help lists them."""

from __future__ import annotations

from enum import StrEnum


class SchedulerName(StrEnum):
    """Flow-matching solvers. All integrate the same ODE; they differ in how few steps they need."""

    UNIPC = "unipc"
    EULER = "euler"
    DPMPP = "dpm++"
