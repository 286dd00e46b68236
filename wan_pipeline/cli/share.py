"""`share`: keys for guests."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_folders, opened_studio

if TYPE_CHECKING:
    from wan_pipeline.access.keys import Key

SHARE = (
    "Make a key for a guest, list the keys, or revoke one. A guest opens the page by a link that ends in the key, "
    "while the app is shared (serve --share, or --host-name)."
)
ROLES = ("view", "make")


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("share", help="invite a guest by a key", description=SHARE, allow_abbrev=False)
    add = parser.add_argument
    add("--role", choices=ROLES, default="view", help="view: watch and comment; make: also generate (view)")
    add("--project", default="", metavar="NAME", help="the project that it covers (the whole studio)")
    add("--expires", default="48h", metavar="TIME", help="such as 30m, 48h, 7d, 2w or never (48h)")
    add("--max-clips", metavar="N", help="clips that it may make in all (no limit but the daily one)")
    add("--list", action="store_true", help="list the keys, the newest first")
    add("--revoke", metavar="ID", help="end a key and the pages that are open by it")
    add("--json", action="store_true", help="print one JSON object; for --list one a line, without the keys")
    add_folders(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.list:
        return _list(options)
    return _revoke(options) if options.revoke else _create(options)


def _create(options: argparse.Namespace) -> int:
    from wan_pipeline.access.http import invitation
    from wan_pipeline.access.keys import parse_expiry, parse_max_clips
    from wan_pipeline.access.public_address import PublicAddress

    lifetime, max_clips = parse_expiry(options.expires), parse_max_clips(options.max_clips)
    with opened_studio(options) as studio:
        from wan_pipeline.access.roles import Role

        secret, key = studio.create_key(Role(options.role), options.project, lifetime, max_clips)
        address = PublicAddress(studio.settings.workspace).read()
    url = invitation(address, secret) if address else None
    if options.json:
        print(json.dumps({"key": secret, **_public(key), "url": url}))
        return 0
    print(url or secret)
    if url is None:
        hint = "The app is not shared now: serve it with --share, and add /?key=… to its address."
        print(hint, file=sys.stderr)
    return 0


def _list(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        keys = studio.keys.list()
    for key in keys:
        used = key.last_used_at.isoformat(timespec="seconds") if key.last_used_at else None
        if options.json:
            print(json.dumps({"id": key.id, **_public(key), "max_clips": key.max_clips, "last_used": used}))
        else:
            covers, ends = key.project or "the whole studio", _public(key)["expires"] or "never"
            print(f"{key.id}  {key.role:5}  {covers}, expires {ends}, last used {used or 'never'}")
    if not keys and not options.json:
        print("There are no keys.")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        key = studio.keys.revoke(options.revoke)
    print(json.dumps({"id": key.id, "revoked": True}) if options.json else f"Revoked {key.id}.")
    return 0


def _public(key: Key) -> dict[str, Any]:
    expires = key.expires_at.isoformat(timespec="seconds") if key.expires_at else None
    return {"role": key.role.value, "project": key.project or None, "expires": expires}
