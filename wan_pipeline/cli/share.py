"""`share`: keys for guests: make, list, revoke."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import Commands, add_folders, opened_studio
from wan_pipeline.errors import UserError

if TYPE_CHECKING:
    from wan_pipeline.access.keys import Key

SHARE = "Make a key for a guest and print it once: a link while the app is shared. --list shows the keys, --revoke ends one."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("share", help="let a guest in by a key", description=SHARE, allow_abbrev=False)
    add = parser.add_argument
    add("--role", choices=["view", "make"], default="view", help="view: watch and comment; make: also generate")
    add("--project", default="", metavar="P", help="what it covers (the whole studio)")
    add("--expires", type=_lifetime, default=timedelta(hours=48), metavar="48h", help="30m, 48h, 7d, 2w or never (48h)")
    add("--max-clips", type=_clips, default=0, metavar="N", help="clips that it may make in all (as many as its caps)")
    add("--list", action="store_true", help="list the keys, one a line")
    add("--revoke", metavar="ID", help="end a key; its open pages end at once")
    add("--json", action="store_true", help="print one JSON object, with --list one a line")
    parser.set_defaults(run=run)
    add_folders(parser)


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.access.caps import Caps  # here: --help needs none of it
    from wan_pipeline.access.keys import Keys
    from wan_pipeline.access.public_address import PublicAddress, invitation
    from wan_pipeline.access.roles import Role
    from wan_pipeline.storage.database import Database

    with opened_studio(options) as studio:
        keys = Keys(Database(studio.settings.database))
        if options.list:
            for key in keys.list():
                print(json.dumps(_report(key)) if options.json else _line(key))
            return 0
        if options.revoke is not None:
            key = keys.revoke(options.revoke)
            print(json.dumps({"id": key.id, "revoked": True}) if options.json else f"{key.id} revoked")
            return 0
        secret, key = keys.create(
            Role(options.role), options.project.strip()[:80], options.expires, Caps(max_clips=options.max_clips)
        )
        address = PublicAddress(studio.settings.workspace).current()
    url = None if address is None else invitation(address, secret)
    if options.json:
        facts = {"key": secret, "role": key.role, "project": key.project, "expires": _expiry(key), "url": url}
        print(json.dumps(facts))
    else:
        print(url or secret)
    return 0


def _lifetime(text: str) -> timedelta | None:
    from wan_pipeline.access.keys import parse_expiry

    return parse_expiry(text)


def _clips(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise UserError(f"--max-clips {text[:40]} is no number of clips; use one from 1 to 1,000,000.")
    return int(text)


def _expiry(key: Key) -> str | None:
    return None if key.expires_at is None else key.expires_at.isoformat(timespec="seconds")


def _report(key: Key) -> dict[str, object]:
    """A key as `--list --json` shows it: without its secret, which nobody has stored."""
    return {
        "id": key.id,
        "role": key.role,
        "project": key.project,
        "expires": _expiry(key),
        "created": key.created_at.isoformat(timespec="seconds"),
        "last_used": None if key.last_used_at is None else key.last_used_at.isoformat(timespec="seconds"),
        "max_clips": key.caps.max_clips or None,
    }


def _line(key: Key) -> str:
    used = f"last used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used"
    ends = f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "for ever"
    return f"{key.id}  {key.role:<5}  {key.project or '(all)':<20}  {ends}  {used}"
