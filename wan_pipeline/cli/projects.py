"""`projects`: clients and films, each with a setup of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_action, add_folders, opened_studio
from wan_pipeline.errors import UserError
from wan_pipeline.requests import options as words
from wan_pipeline.wording import plural

if TYPE_CHECKING:
    from wan_pipeline.projects.project import Profile, Project
    from wan_pipeline.studio import Studio

PROJECTS = "Clients and films, each with a setup that its clips get: a folder with a project.toml in the workspace."
PROFILE_SETTINGS = ("model", "speed", "width", "height", "steps", "early-end")
AFTER_FINALS: dict[str, Callable[[str], Any]] = {
    "upscale": words.whole("upscale factor"),
    "interpolate": words.whole("interpolation factor"),
    "upscaler": str,
    "interpolator": str,
}
"""Settings of a final profile for what is done to the frames of finals: how each is read."""
_NOT_SETUP = ("prompt", "seed", "image-fit", "image-crop", "noise-size", *(option.name for option in words.FILES))


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("projects", help="work with projects", description=PROJECTS, allow_abbrev=False)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    listed = _action(actions, "list", _list, "list the projects")
    listed.add_argument("--all", action="store_true", help="archived ones too")
    show = _action(actions, "show", _show, "show a project's setup")
    show.add_argument("project", metavar="PROJECT", help="its name")
    for name, run, text in (
        ("create", _create, "make a project and print the path of its file"),
        ("edit", _edit, "change a project's setup; print the path of its file"),
    ):
        action = _action(actions, name, run, text)
        action.add_argument("project", metavar="PROJECT", help="its name")
        _add_setup(action)
    export = _action(actions, "export", _export, "write a project to one ZIP and print its path")
    export.add_argument("project", metavar="PROJECT", help="its name")
    export.add_argument("--output", type=words.path, metavar="ZIP", help="where to; by default PROJECT.zip, here")
    export.add_argument("--loras", action="store_true", help="with the files of its LoRAs, not just their hashes")
    export.add_argument("--clips", action="store_true", help="with its clips, receipts and input pictures")
    taken = _action(actions, "import", _import, "take in a project from a ZIP that export wrote")
    taken.add_argument("file", type=words.path, metavar="ZIP", help="the file")


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, run, text)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for list one a line")
    return parser


def _add_setup(parser: argparse.ArgumentParser) -> None:
    """The settings of a project. An empty text takes a setting away again."""
    add = parser.add_argument
    add("--title", metavar="TEXT", help="what people read")
    for option in words.OPTIONS:
        if option.name not in _NOT_SETUP:
            add(f"--{option.name}", type=_or_nothing(option), metavar=option.metavar, help=option.help)
    text = "a LoRA of all its clips; repeatable; none for none"
    add("--lora", type=words.lora, metavar="NAME=WEIGHT", action="append", default=[], help=text)
    negative = "whether its negative prompt takes the place of the authors' own, or is added to it"
    add("--replace-negative", action=argparse.BooleanOptionalAction, default=None, help=negative)
    for profile in ("draft", "final"):
        text = f"a setting of its {profile} profile: {', '.join(_settings_of(profile))}; repeatable"
        add(f"--{profile}", metavar="NAME=VALUE", action="append", default=[], help=text)
    add("--naming", metavar="TEMPLATE", help='names of clips, such as "{project}/{scene}_{shot}_{take:03}_{seed}"')
    add("--output-folder", metavar="DIR", help="where a copy of every finished clip goes")
    add("--notes", metavar="TEXT", help="anything")
    add("--archived", action=argparse.BooleanOptionalAction, default=None, help="offer it on the page no more")


def _or_nothing(option: words.Option) -> Any:
    """Parses a setting, of which an empty text is nothing."""
    return lambda text: "" if text == "" else option.parse(text)


def _list(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        jobs = studio.jobs.projects()
        for project in studio.projects.all():
            if project.archived and not options.all:
                continue
            count, waiting = _count_clips(studio, project), jobs.get(project.label, 0)
            if options.json:
                print(json.dumps({**_report(studio, project), "clips": count, "jobs": waiting}))
            else:
                print(f"{project.id:<24}  {project.title:<32}  {count:>5} clips{'  archived' * project.archived}")
    return 0


def _count_clips(studio: Studio, project: Project) -> int:
    """Count clips; the default project's are those of no other project."""
    from wan_pipeline.clips.gallery import GalleryQuery

    def total(name: str) -> int:
        return studio.gallery.page(GalleryQuery(project=name), 0, 1).total

    return total(project.label) if project.label else total("") - sum(map(total, studio.gallery.facets().projects))


def _show(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        project = studio.projects.existing(options.project)
        if options.json:
            print(json.dumps(_report(studio, project)))
        else:
            print("\n".join(_lines(studio, project)))
    return 0


def _create(options: argparse.Namespace) -> int:
    from wan_pipeline.projects.project import Project  # here: --help needs none of it
    from wan_pipeline.projects.store import project_id

    with opened_studio(options) as studio:
        plain = Project(project_id(options.project), options.title or options.project.strip())
        return _written(options, studio, studio.projects.create(_changed(options, plain)))


def _edit(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        project = _changed(options, studio.projects.existing(options.project))
        studio.projects.save(project)
        return _written(options, studio, project)


def _export(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        target = options.output or Path(f"{studio.projects.existing(options.project).id}.zip")
        studio.bundles.write(options.project, target, with_loras=options.loras, with_clips=options.clips)
    print(json.dumps({"path": str(target), "bytes": target.stat().st_size}) if options.json else target)
    return 0


def _import(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        taken = studio.bundles.read(options.file)
        if options.json:
            missing = [asdict(need) for need in taken.missing]
            facts = {"clips": taken.clips, "missing": missing, "skipped": taken.skipped, "notes": list(taken.notes)}
            print(json.dumps({**_report(studio, taken.project), **facts}))
            return 0
        print(f"{taken.project.title}: {plural(taken.clips, 'clip')}")
        for note in taken.notes:
            print(f"note: {note}")
        for need in taken.missing:
            print(f"missing: {need.kind} {need.name}{f', SHA-256 {need.sha256}' if need.sha256 else ''}")
    return 0


def _written(options: argparse.Namespace, studio: Studio, project: Project) -> int:
    print(json.dumps(_report(studio, project)) if options.json else studio.projects.path(project.id))
    return 0


def _changed(options: argparse.Namespace, project: Project) -> Project:
    """The project with what the options say, checked as its file would be. Raises UserError."""
    from wan_pipeline.projects.file import checked

    given = {option.field: _value_of(options, option.name) for option in words.OPTIONS if option.name not in _NOT_SETUP}
    setup: dict[str, Any] = {name: None if value == "" else value for name, value in given.items() if value is not None}
    if options.lora:
        setup["loras"] = () if [lora.name for lora in options.lora] == ["none"] else tuple(options.lora)
    if options.replace_negative is not None:
        setup["replaces_negative_prompt"] = options.replace_negative
    own = {"title": options.title, "naming": options.naming, "output": options.output_folder, "notes": options.notes}
    profiles = {
        "draft": _profile(project.draft, "draft", options.draft),
        "final": _profile(project.final, "final", options.final),
        "archived": options.archived,
    }
    changes = {name: value for name, value in {**own, **profiles}.items() if value is not None}
    return checked(replace(project, **changes, setup=replace(project.setup, **setup)))


def _value_of(options: argparse.Namespace, name: str) -> Any:
    return getattr(options, name.replace("-", "_"))


def _settings_of(profile: str) -> tuple[str, ...]:
    return (*PROFILE_SETTINGS, *AFTER_FINALS) if profile == "final" else PROFILE_SETTINGS


def _profile(profile: Profile, kind: str, texts: list[str]) -> Profile:
    """The profile with the settings of NAME=VALUE texts. Raises UserError."""
    parsers = {option.name: (option.field, option.parse) for option in words.OPTIONS}
    parsers |= {name: (name, parse) for name, parse in AFTER_FINALS.items()}
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name.strip() not in _settings_of(kind):
            known = ", ".join(_settings_of(kind))
            raise UserError(f"'{text[:80]}' is no setting of a {kind} profile; write NAME=VALUE with one of: {known}.")
        field, parse = parsers[name.strip()]
        changes[field] = parse(value) if value else None
    return replace(profile, **changes)


def _report(studio: Studio, project: Project) -> dict[str, Any]:
    from wan_pipeline.projects.file import given_values  # here: --help needs none of it

    setup = given_values(asdict(project.setup))
    if project.setup.loras is not None:
        setup["loras"] = [lora.to_dict() for lora in project.setup.loras]
    profiles = {
        name: {key: value for key, value in asdict(getattr(project, name)).items() if value is not None}
        for name in ("draft", "final")
    }
    own = {name: getattr(project, name) for name in ("naming", "output", "notes", "archived")}
    path = studio.projects.path(project.id)
    return {
        "id": project.id,
        "title": project.title,
        "path": str(path) if path.is_file() else None,
        "setup": setup,
        **profiles,
        **own,
    }


def _lines(studio: Studio, project: Project) -> list[str]:
    """For a person: names on the left, as in the file."""
    from wan_pipeline.projects.file import project_values

    path = studio.projects.path(project.id)
    facts = {"project": project.id, **project_values(project), "file": path if path.is_file() else "none yet"}
    width = max(map(len, facts))
    return [f"{name:<{width}}  {_plain(value)}" for name, value in facts.items()]


def _plain(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
        case list():
            return ", ".join(_plain(each) for each in value) or "none"
        case _:
            return " ".join(str(value).split())
