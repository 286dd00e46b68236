"""`characters`: the characters and places of a project, which prompts name by `@anna`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_action, add_folders, opened_studio, reporting_new_projects
from wan_pipeline.errors import UserError
from wan_pipeline.requests import options as words
from wan_pipeline.wording import plural

if TYPE_CHECKING:
    from wan_pipeline.requests.prompts.characters import Character
    from wan_pipeline.studio import Studio

CHARACTERS = (
    "The characters and places of a project. @NAME in a prompt brings in what the model can use: words, a LoRA with "
    "its trigger word, and pictures, as reference images or as the first frame."
)


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "characters", help="work with characters and places", description=CHARACTERS, allow_abbrev=False
    )
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    _action(actions, "list", _list, "list a project's characters and places")
    add = _action(actions, "add", _add, "add a character or a place")
    edit = _action(actions, "edit", _edit, "change a character or a place; an empty text takes a setting away")
    for action in (add, edit):
        _add_settings(action)
    edit.add_argument("--name", dest="new_name", default="", metavar="NAME", help="another name")
    text = "take its pictures away, before --picture adds others"
    edit.add_argument("--no-pictures", action="store_true", help=text)
    remove = _action(actions, "remove", _remove, "remove a character or a place; its pictures stay in the workspace")
    for action in (add, edit, remove):
        action.add_argument("name", metavar="NAME", help="its name, with or without @")


def _action(actions: Commands[argparse.ArgumentParser], name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, run, text)
    parser.add_argument("--project", default="", metavar="NAME", help="its project (the default project)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--sentence", metavar="TEXT", help='what a prompt says in its place, as in "a woman with short red hair"')
    add("--lora", metavar="NAME=WEIGHT", help="the LoRA that shows it")
    add("--picture", type=words.path, metavar="FILE", action="append", default=[], help="a picture; repeatable")
    add("--place", action=argparse.BooleanOptionalAction, default=None, help="it is a place")


def _list(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        found = studio.characters.all(studio.projects.existing(options.project).id)
        if options.json:
            listed = [report(studio, name, each) for name, each in found.items()]
            print(json.dumps({"project": _id(studio, options), "count": len(found), "characters": listed}))
            return 0
        for name, each in found.items():
            print(f"@{name:<20}  {each.kind:<9}  {_facts(each)}".rstrip())
        if not found:
            print("There are no characters or places; add one by `characters add NAME`.")
    return 0


def _add(options: argparse.Namespace) -> int:
    from wan_pipeline.requests.prompts.characters import Character  # here: --help needs none of it

    with opened_studio(options) as studio, reporting_new_projects(studio, [options.project]):
        character = _changed(options, Character())
        return _tell(options, studio, studio.characters.add(options.project, options.name, character, options.picture))


def _edit(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        name, now = studio.characters.existing(options.project, options.name)
        kept = replace(now, pictures=()) if options.no_pictures else now
        character = studio.characters.with_pictures(_changed(options, kept), options.picture)
        return _tell(options, studio, studio.characters.change(options.project, name, character, options.new_name))


def _remove(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        name, _ = studio.characters.existing(options.project, options.name)
        studio.characters.remove(options.project, name)
        print(json.dumps({"project": _id(studio, options), "removed": name}) if options.json else f"@{name} is removed")
    return 0


def _changed(options: argparse.Namespace, character: Character) -> Character:
    """What the options say of it. Raises UserError."""
    from wan_pipeline.requests.prompts.characters import CharacterKind

    changes: dict[str, Any] = {}
    if options.sentence is not None:
        changes["sentence"] = options.sentence.strip()
    if options.lora is not None:
        changes["lora"] = words.lora(options.lora) if options.lora.strip() else None
    if options.place is not None:
        changes["kind"] = CharacterKind.PLACE if options.place else CharacterKind.CHARACTER
    missing = next((path for path in options.picture if not path.is_file()), None)
    if missing is not None:
        raise UserError(f"There is no picture {missing}; name a file that is there.")
    return replace(character, **changes)


def _tell(options: argparse.Namespace, studio: Studio, name: str) -> int:
    name, character = studio.characters.existing(options.project, name)
    if options.json:
        print(json.dumps({"project": _id(studio, options), **report(studio, name, character)}))
    else:
        print(f"@{name}: {_facts(character)}")
    return 0


def report(studio: Studio, name: str, character: Character) -> dict[str, Any]:
    """A character as JSON."""
    return {
        "name": name,
        "kind": character.kind,
        "sentence": character.sentence,
        "lora": character.lora.to_dict() if character.lora else None,
        "pictures": [str(path.resolve()) for path in studio.characters.pictures(character)],
    }


def _facts(character: Character) -> str:
    lora = f"LoRA {character.lora.name} {character.lora.strength}" if character.lora else ""
    pictures = plural(len(character.pictures), "picture") if character.pictures else ""
    return "; ".join(fact for fact in (character.sentence, lora, pictures) if fact) or "nothing said of it yet"


def _id(studio: Studio, options: argparse.Namespace) -> str:
    return studio.projects.existing(options.project).id
