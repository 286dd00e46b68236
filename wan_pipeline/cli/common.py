"""What the commands share: the folders, the words for errors, and the way a setting is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from wan_pipeline.errors import UserError
from wan_pipeline.planning.attention import parse_attention
from wan_pipeline.planning.machine import parse_gib
from wan_pipeline.planning.memory_plan import Residency, parse_plan_setting
from wan_pipeline.requests import options as words
from wan_pipeline.settings import ENHANCER_VARIABLE, LATENTS_VARIABLE, WORKSPACE_VARIABLE, Settings, default_workspace
from wan_pipeline.wording import upper_first

if TYPE_CHECKING:
    from wan_pipeline.requests.request import Draft
    from wan_pipeline.studio import Studio

Commands = argparse._SubParsersAction  # what add_subparsers gives; it has no public name
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141
"""As of a program that SIGPIPE ends."""

_FOLDERS = (
    ("--workspace", default_workspace, f"the studio's own folder (also by {WORKSPACE_VARIABLE})"),
    ("--models-folder", lambda: Settings.models, "where model folders lie"),
    ("--presets-folder", lambda: Settings.presets, "where preset files lie"),
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other user error here, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{upper_first(message)}; see {self.prog} --help.")


def add_folders(parser: argparse.ArgumentParser, *, with_defaults: bool = False) -> None:
    """The folders, with their defaults before the command; after it they win over those before it."""
    group = parser.add_argument_group("folders", "before or after the command")
    for name, default, text in _FOLDERS:
        value = default() if with_defaults else argparse.SUPPRESS
        group.add_argument(name, type=Path, metavar="DIR", default=value, help=text)
    text = "where LoRA files lie; repeatable: the first receives trained ones, the others are only read"
    absent = None if with_defaults else argparse.SUPPRESS
    group.add_argument("--loras-folder", type=Path, metavar="DIR", action="append", default=absent, help=text)


def add_action(
    actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str
) -> argparse.ArgumentParser:
    """A parser for an action of a command; `run` is called with its options, and `text` says what it does."""
    parser = actions.add_parser(name, help=text, description=f"{upper_first(text)}.", allow_abbrev=False)
    parser.set_defaults(run=run)
    add_folders(parser)
    return parser


def add_settings(parser: argparse.ArgumentParser) -> None:
    """One option for each setting of a clip."""
    for option in words.OPTIONS:
        parser.add_argument(f"--{option.name}", type=option.parse, metavar=option.metavar, help=option.help)
    parser.add_argument(
        "--lora",
        type=words.lora,
        metavar="NAME=WEIGHT",
        action="append",
        default=[],
        help="an adapter; HIGH/LOW for two experts, @0:0,0.3:1 for factors over the steps; repeatable; none: not the "
        "project's",
    )
    parser.add_argument(
        "--reference-image",
        type=words.path,
        metavar="FILE",
        action="append",
        default=[],
        help="a picture of what should be seen (VACE); repeatable",
    )


def add_project(parser: argparse.ArgumentParser, text: str, *, profile: bool = False) -> None:
    """`--project`; with `profile` also which of its profiles."""
    parser.add_argument("--project", default="", metavar="NAME", help=text)
    if profile:
        parser.add_argument("--profile", choices=("draft", "final"), default="", help="by this profile of the project")


def add_memory(parser: argparse.ArgumentParser, *, limit_only: bool = False) -> None:
    """How the device is used. `limit_only`: where the plan is settled already."""
    group = parser.add_argument_group("memory")
    add = group.add_argument
    add("--memory-limit", type=parse_gib, metavar="SIZE", help="of the device, such as 8GB (all that is free)")
    if not limit_only:
        text = f"{', '.join(Residency)}, or a whole plan's text (the best)"
        add("--plan", type=parse_plan_setting, metavar="TEXT", help=text)
        text = "how attention computes: auto, native, cudnn, or sage, which is quicker and less exact (auto)"
        add("--attention", type=parse_attention, default=Settings.attention, metavar="NAME", help=text)
        add("--compiled", action="store_true", help="compile the model's blocks: slow to start, then quicker steps")


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Which GPUs the queue uses."""
    text = "GPUs that clips are made on, each by a worker of its own, such as 0,1 (the first that there is), or none"
    parser.add_argument("--devices", metavar="NUMBERS", help=text)


def add_latents(parser: argparse.ArgumentParser) -> None:
    """Whether clips keep their latents."""
    text = f"keep each clip's latents, a few MB, to export it with more than 8 bits (yes; also by {LATENTS_VARIABLE})"
    parser.add_argument("--keep-latents", action=argparse.BooleanOptionalAction, default=None, help=text)


def add_enhancer(parser: argparse.ArgumentParser) -> None:
    """Which instruction model makes prompts richer."""
    where = "a folder, or a repository in the Hugging Face cache"
    text = f"an instruction model that makes prompts richer: {where} (also by {ENHANCER_VARIABLE})"
    parser.add_argument("--enhancer", metavar="NAME", help=text)


def settings(options: argparse.Namespace) -> Settings:
    loras, *more_loras = options.loras_folder or [Settings.loras]
    keep_latents = getattr(options, "keep_latents", None)
    return Settings(
        **({} if keep_latents is None else {"keep_latents": keep_latents}),
        workspace=options.workspace,
        presets=options.presets_folder,
        loras=loras,
        more_loras=tuple(more_loras),
        models=options.models_folder,
        memory_limit=getattr(options, "memory_limit", None) or 0.0,
        plan=getattr(options, "plan", None) or "",
        compiled=getattr(options, "compiled", False),
        devices=getattr(options, "devices", None) or "",
        **({"enhancer": enhancer} if (enhancer := getattr(options, "enhancer", None)) else {}),
        attention=getattr(options, "attention", Settings.attention),
    )


@contextmanager
def opened_studio(options: argparse.Namespace) -> Iterator[Studio]:
    """The studio of the folders asked for. What was put right, on opening it and since, goes to stderr."""
    from wan_pipeline.studio import Studio  # here: --help needs none of it

    with Studio(settings(options)) as studio:
        told = studio.notices
        for notice in told:
            warn(notice)
        yield studio
        for notice in studio.notices:
            if notice not in told:
                warn(notice)


def draft(options: argparse.Namespace) -> Draft:
    from wan_pipeline.requests.layers import with_none_read  # here: --help needs none of it
    from wan_pipeline.requests.request import Draft

    values: dict[str, Any] = {option.field: getattr(options, option.name.replace("-", "_")) for option in words.OPTIONS}
    loras = tuple(options.lora) if options.lora else None
    if loras is not None and [lora.name for lora in loras] == ["none"]:
        loras = ()
    several = {"loras": loras, "reference_images": tuple(options.reference_image)}
    return with_none_read(Draft(**{**values, "prompt": values["prompt"] or "", **several}))


@contextmanager
def reporting_new_projects(studio: Studio, names: Iterable[str]) -> Iterator[None]:
    """Print at the end which of these projects are new: those of clips without a fault."""
    absent = [name for name in dict.fromkeys(names) if studio.projects.find(name) is None]
    try:
        yield
    finally:
        made = {project.id: project for name in absent if (project := studio.projects.find(name))}
        for project in made.values():
            path = studio.projects.path(project.id)
            print(f"note: the project '{project.title}' is new; its settings are in {path}.", file=sys.stderr)


def warn(message: str) -> None:
    print(f"warning: {' '.join(message.split())}", file=sys.stderr)


def complain(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status
