"""The command line: clips without the page. Light to import, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from wan_pipeline import __version__
from wan_pipeline.errors import Cancelled, StudioError, UserError
from wan_pipeline.request import Draft, LoraChoice, SchedulerName
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.jobs.job import Finished

GENERATE = "Make one clip and print its path. Settings left out come from the preset, then from the model."

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give the exit status: 0 done, 1 failed, 2 to be put right by the user, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name may hold letters that the terminal's code lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
        _generate(options)
    except UserError as error:
        return _complain(str(error), EXIT_USER_ERROR)
    except (KeyboardInterrupt, Cancelled):
        return _complain("stopped; no clip was written.", EXIT_INTERRUPTED)
    except StudioError as error:
        return _complain(str(error), EXIT_FAILED)
    return 0


def _generate(options: argparse.Namespace) -> None:
    from wan_pipeline.progress_line import ProgressLine  # here and below: --help needs none of these
    from wan_pipeline.studio import Studio

    started = time.monotonic()
    with Studio(_settings(options)) as studio, ProgressLine(sys.stderr) as observer:
        finished = studio.render_now(_draft(options), options.output, observer)
    seconds = time.monotonic() - started
    for warning in finished.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(json.dumps(_report(finished, seconds)) if options.json else finished.clip)


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        workspace=options.workspace,
        presets=options.presets_folder,
        loras=options.loras_folder,
        models=options.models_folder,
    )


def _draft(options: argparse.Namespace) -> Draft:
    return Draft(
        prompt=options.prompt,
        image=options.image,
        model=options.model,
        preset=options.preset,
        negative_prompt=options.negative_prompt,
        seed=options.seed,
        width=options.width,
        height=options.height,
        num_frames=options.frames,
        fps=options.fps,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        flow_shift=options.flow_shift,
        scheduler=options.scheduler,
        loras=tuple(options.lora),
    )


def _report(finished: Finished, seconds: float) -> dict[str, object]:
    request = finished.request
    return {
        "clip": str(finished.clip.resolve()),
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "frames": request.num_frames,
        "fps": request.fps,
        "seconds": round(seconds, 3),
        "frames_sha256": finished.frames_sha256,
        "request": request.to_dict(),
    }


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other user error here, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; see python -m wan_pipeline generate --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m wan_pipeline", description="Wan Studio: text and images into video.")
    parser.add_argument("--version", action="version", version=f"Wan Studio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    generate = commands.add_parser("generate", help="make one clip", description=GENERATE, allow_abbrev=False)
    add = generate.add_argument
    add("--prompt", default="", help="what should be seen")
    add("--image", type=Path, metavar="FILE", help="a picture to start from")
    add("--model", metavar="ID", help="which model (the bundled demo)")
    add("--preset", metavar="ID", help="a style of the presets folder")
    add("--negative-prompt", metavar="TEXT", help="what should not be seen")
    add("--seed", type=_whole("seed"), metavar="N", help="the same seed and settings give the same clip (random)")
    add("--steps", type=_whole("steps"), metavar="N", help="denoising steps")
    add("--guidance", type=_number("guidance"), metavar="X", help="how closely to follow the prompt")
    add(
        "--flow-shift",
        type=_number("flow shift"),
        metavar="X",
        help="more favours composition, less favours detail",
    )
    add("--scheduler", metavar="NAME", help=f"solver: {', '.join(SchedulerName)}")
    add("--width", type=_whole("width"), metavar="PX", help="width of the clip")
    add("--height", type=_whole("height"), metavar="PX", help="height of the clip")
    add("--frames", type=_whole("frames"), metavar="N", help="number of frames")
    add("--fps", type=_whole("frames per second"), metavar="N", help="frames per second")
    add("--lora", type=_lora, metavar="NAME=WEIGHT", action="append", default=[], help="an adapter; repeatable")
    add("--output", type=Path, metavar="FILE.mp4", help="where to put the clip (the workspace's clips folder)")
    add("--workspace", type=Path, metavar="DIR", default=Settings.workspace, help="the studio's own folder")
    add("--models-folder", type=Path, metavar="DIR", default=Settings.models, help="where model folders lie")
    add("--loras-folder", type=Path, metavar="DIR", default=Settings.loras, help="where LoRA files lie")
    add("--presets-folder", type=Path, metavar="DIR", default=Settings.presets, help="where preset files lie")
    add("--json", action="store_true", help="print one JSON object as the last line of stdout")
    return parser


def _whole(name: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise UserError(f"The {name} '{text[:80]}' is not a whole number; use one such as 16.") from None

    return parse


def _number(name: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UserError(f"The {name} '{text[:80]}' is not a number; use one such as 3.5.") from None

    return parse


def _lora(text: str) -> LoraChoice:
    """NAME or NAME=WEIGHT."""
    name, equals, weight = text.partition("=")
    return LoraChoice(name, _number(f"weight of LoRA '{name[:80]}'")(weight) if equals else 1.0)


def _complain(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status
