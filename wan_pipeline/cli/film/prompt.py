"""`prompt enhance`: a richer prompt."""

from __future__ import annotations

import argparse
import json
import random

from wan_pipeline.cli.common import Commands, add_enhancer, add_folders, opened_studio
from wan_pipeline.requests import options as words

PROMPT = "Work with prompts."
ENHANCE = (
    "Print a richer prompt, in the language of the given one: for the demo model by a small grammar of its words, else "
    "by an instruction model that is on this machine. The same seed gives the same prompt."
)


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("prompt", help="make a prompt richer", description=PROMPT, allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    enhance = actions.add_parser("enhance", help="print a richer prompt", description=ENHANCE, allow_abbrev=False)
    enhance.add_argument("text", metavar="TEXT", help="the prompt")
    enhance.add_argument("--model", metavar="ID", help="the model that it is for (the bundled demo)")
    image = "for image to video: what moves, and not what the picture shows"
    enhance.add_argument("--from-image", action="store_true", help=image)
    enhance.add_argument("--seed", type=words.whole("seed"), metavar="N", help="for the same prompt again (random)")
    add_enhancer(enhance)
    enhance.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_folders(enhance)
    enhance.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from wan_pipeline.models.registry import DEFAULT_MODEL  # here: --help needs none of it
    from wan_pipeline.models.spec import Mode
    from wan_pipeline.requests.limits import MAX_RANDOM_SEED

    seed = random.randint(0, MAX_RANDOM_SEED) if options.seed is None else options.seed
    mode = Mode.IMAGE_TO_VIDEO if options.from_image else Mode.TEXT_TO_VIDEO
    with opened_studio(options) as studio:
        spec = studio.models.spec(options.model or DEFAULT_MODEL)
        enhanced = studio.enhancer.enhance(options.text, spec, mode, seed)
    facts = {"prompt": options.text, "enhanced": enhanced.prompt, "by": enhanced.by, "model": spec.id, "seed": seed}
    print(json.dumps(facts) if options.json else enhanced.prompt)
    return 0
