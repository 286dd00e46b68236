"""`review`: what is said of a project's picked takes."""

from __future__ import annotations

import argparse
import json

from wan_pipeline.cli.common import Commands, add_folders, opened_studio
from wan_pipeline.requests.options import path as options_path

REVIEW = "What reviewers and the owner say of a project's picked takes. Reviewers come by a key: share --role view."
EXPORT = "Write all comments and verdicts of a project, in the order of its shots, and print the file's path."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("review", help="what is said of picked takes", description=REVIEW, allow_abbrev=False)
    add_folders(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    export = actions.add_parser("export", help="write a review as PDF or CSV", description=EXPORT, allow_abbrev=False)
    export.add_argument("--project", default="", metavar="NAME", help="the project (the default project)")
    text = "where to: a name that ends in .pdf or .csv"
    export.add_argument("--output", type=options_path, metavar="FILE", required=True, help=text)
    export.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_folders(export)
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    with opened_studio(options) as studio:
        label = studio.projects.existing(options.project).label
        count = studio.reviews.export(label, options.output)
    path = options.output.resolve()
    print(json.dumps({"path": str(path), "project": label, "shots": count}) if options.json else path)
    return 0
