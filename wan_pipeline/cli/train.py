"""`train` and `dataset check`: a LoRA from a folder of images and clips."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.common import Commands, add_folders, add_memory, opened_studio, settings, warn
from wan_pipeline.cli.progress_line import Line, ProgressLine
from wan_pipeline.errors import Cancelled
from wan_pipeline.models.registry import DEFAULT_MODEL
from wan_pipeline.requests import options as words
from wan_pipeline.wording import plural

if TYPE_CHECKING:
    from wan_pipeline.trainer.dataset.check import Dataset
    from wan_pipeline.trainer.request import TrainingRequest
    from wan_pipeline.trainer.trained import Trained

TRAIN = "Train a LoRA on a folder of images and short clips with captions, and print the path of its file."
DATASET = "Look at a folder of images and short clips before training on it."
IMPORT = "Copy a dataset of another trainer into a new folder: a ZIP, a musubi TOML or JSONL, a DiffSynth metadata.csv."
CAPTION = "Write captions for images and clips that have none, by a vision-language model that is on this machine."
CHECK = "Point out what is broken, tiny, blurred, double or without a caption, and the sizes it is trained at."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    _add_train(commands)
    dataset = commands.add_parser("dataset", help="look at a dataset", description=DATASET, allow_abbrev=False)
    actions = dataset.add_subparsers(dest="action", required=True, metavar="action")
    check = actions.add_parser("check", help="point out its problems", description=CHECK, allow_abbrev=False)
    check.add_argument("folder", type=words.path, metavar="DIR", help="images and clips with captions")
    check.add_argument("--model", default=DEFAULT_MODEL, help="whose sizes to use (%(default)s)")
    check.add_argument("--recipe", default="style", help="whose sizes to use (%(default)s)")
    text = "a contact sheet too: name, size, bucket, and what is wrong marked (.png or .pdf)"
    check.add_argument("--sheet", type=words.path, metavar="FILE", help=text)
    check.add_argument("--json", action="store_true", help="print one JSON object")
    add_folders(check)
    check.set_defaults(run=run_check)
    imported = actions.add_parser("import", help="copy another trainer's", description=IMPORT, allow_abbrev=False)
    imported.add_argument("source", type=words.path, metavar="SOURCE", help="a ZIP, TOML, JSONL or CSV, or a folder")
    imported.add_argument("folder", type=words.path, metavar="DIR", help="a new folder")
    add_folders(imported)
    imported.set_defaults(run=run_import)
    caption = actions.add_parser("caption", help="write missing captions", description=CAPTION, allow_abbrev=False)
    caption.add_argument("folder", type=words.path, metavar="DIR", help="images and clips")
    text = "a folder, or a repository in the Hugging Face cache, of a model that describes images"
    caption.add_argument("--model", metavar="NAME", required=True, help=text)
    add_folders(caption)
    caption.set_defaults(run=run_caption)


def _add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train", help="train a LoRA", description=TRAIN, allow_abbrev=False)
    add = parser.add_argument
    add("--dataset", type=words.path, metavar="DIR", required=True, help="images and clips with captions")
    add("--output", metavar="NAME", required=True, help="name of the LoRA")
    add("--model", default=DEFAULT_MODEL, help="one of `models list` (%(default)s)")
    text = "style, character, product or motion, each also with -quick or -thorough (%(default)s)"
    add("--recipe", default="style", help=text)
    add("--trigger", default="", metavar="WORD", help="a word put before every caption")
    text = "a folder of clips that are trained on beside it, without the trigger word"
    add("--regularisation", type=words.path, metavar="DIR", help=text)
    text = "number of regularisation clips to make with the base model"
    add("--regularisation-clips", type=words.whole("number of clips"), metavar="N", default=0, help=text)
    add("--steps", type=words.whole("steps"), metavar="N", help="(the recipe's)")
    add("--rank", type=words.whole("rank"), metavar="N", help="of the LoRA (the recipe's)")
    add("--learning-rate", type=words.number("learning rate"), metavar="RATE", help="(the recipe's)")
    add("--accumulation", type=words.whole("accumulation"), metavar="N", help="batches in a step (the recipe's)")
    text = "share of examples trained without their caption, 0 to 1 (the recipe's)"
    add("--caption-dropout", type=words.number("caption dropout"), metavar="SHARE", help=text)
    text = "adamw, or adamw8bit: moments in 8 bits, by bitsandbytes if it is installed (the recipe's)"
    add("--optimizer", metavar="NAME", help=text)
    add("--seed", type=words.whole("seed"), metavar="S", default=1, help="(%(default)s)")
    add("--resume", action="store_true", help="go on with an unfinished training")
    add("--deterministic", action="store_true", help="the same weights every time on a GPU too; slower")
    add("--forecast", action="store_true", help="say what it will take, and train nothing")
    add("--json", action="store_true", help="print one JSON object as the last line of stdout")
    add_memory(parser, limit_only=True)
    add_folders(parser)
    parser.set_defaults(run=run_train, stopped="stopped; nothing was trained yet.")


def run_train(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.training_line import TrainingLine  # here and below: --help needs none of it
    from wan_pipeline.jobs.training.foreground import train_now
    from wan_pipeline.trainer.files.output import Output
    from wan_pipeline.trainer.run import forecast_training

    request = _request_of(options)
    with TrainingLine(sys.stderr) as observer, _stopping(observer.stop):
        if options.forecast:
            candidate = forecast_training(request, settings(options), observer)
            print(json.dumps(candidate.to_dict()) if options.json else candidate)
            return 0
        try:
            with opened_studio(options) as studio:
                trained = train_now(request, studio.settings, observer)
        except (Cancelled, KeyboardInterrupt):
            if Output(settings(options), request.output).state.exists():
                options.stopped = "stopped; the same command with --resume goes on."
            raise
    for warning in (*trained.warnings, *([trained.hint] if trained.hint else [])):
        warn(warning)
    print(json.dumps(_report(trained)) if options.json else trained.lora.paths[0])
    return 0


def _request_of(options: argparse.Namespace) -> TrainingRequest:
    from wan_pipeline.trainer.request import TrainingRequest

    return TrainingRequest(
        dataset=options.dataset,
        output=options.output,
        model=options.model,
        recipe=options.recipe,
        trigger=" ".join(options.trigger.split()),
        seed=options.seed,
        steps=options.steps,
        rank=options.rank,
        learning_rate=options.learning_rate,
        accumulation=options.accumulation,
        caption_dropout=options.caption_dropout,
        optimizer=options.optimizer,
        regularisation=options.regularisation,
        regularisation_clips=options.regularisation_clips,
        resume=options.resume,
        deterministic=options.deterministic,
    )


def run_import(options: argparse.Namespace) -> int:
    from wan_pipeline.trainer.dataset.importing import import_dataset  # here: --help needs none of it

    print(f"{plural(import_dataset(options.source, options.folder), 'file')} in {options.folder}")
    return 0


def run_caption(options: argparse.Namespace) -> int:
    from wan_pipeline.engine.device.placement import choose_placement  # here and below: --help needs none of it
    from wan_pipeline.engine.loading.load import quiet_libraries
    from wan_pipeline.jobs.device import device_without_queue
    from wan_pipeline.trainer.preparation.captions import Captioner, caption_dataset

    quiet_libraries()
    folders = settings(options)
    with (
        ProgressLine(sys.stderr) as observer,
        device_without_queue(folders, observer),
        closing(Line(sys.stderr)) as line,
    ):
        captioner = Captioner(options.model, choose_placement(folders.device))
        written, problems = caption_dataset(
            options.folder, captioner, lambda done, total: line.write(f"captions {done}/{total}", "captions")
        )
    for problem in problems:
        warn(problem)
    print(f"{plural(written, 'caption')} written")
    return 0


def run_check(options: argparse.Namespace) -> int:
    from wan_pipeline.models.library import ModelLibrary  # here and below: --help needs none of it
    from wan_pipeline.trainer.dataset.buckets import Buckets
    from wan_pipeline.trainer.dataset.check import check_dataset
    from wan_pipeline.trainer.dataset.sheet import check_sheet, write_dataset_sheet
    from wan_pipeline.trainer.recipe import load_recipe

    chosen = settings(options)
    spec = ModelLibrary(chosen).spec(options.model)
    recipe = load_recipe(options.recipe, spec.memory)
    if options.sheet:
        check_sheet(options.sheet, options.folder)
    dataset = check_dataset(options.folder, spec, Buckets(spec, recipe.pixels, recipe.max_frames))
    if options.sheet:
        for note in write_dataset_sheet(dataset, chosen, spec.fps, options.sheet):
            warn(note)
    print(json.dumps(dataset.to_dict()) if options.json else "\n".join(_lines(dataset)))
    return 0


def _report(trained: Trained) -> dict[str, Any]:
    return {
        "lora": str(trained.lora.paths[0].resolve()),
        "files": [str(path.resolve()) for path in trained.lora.paths],
        "steps": trained.steps,
        "loss": round(trained.loss, 6),
        "validation_loss": None if trained.validation_loss is None else round(trained.validation_loss, 6),
        "validation": [{"step": step, "loss": round(loss, 6)} for step, loss in trained.validation],
        "best_step": trained.best_step,
        "hint": trained.hint,
        "checkpoints": [list(map(str, one.paths)) for one in trained.checkpoints],
        "seconds": round(trained.seconds, 3),
        "peak_memory_gib": round(trained.peak_memory_gib, 3),
        "sha256": trained.lora.sha256,
    }


def _lines(dataset: Dataset) -> Iterator[str]:
    """The check for a person."""
    images = len(dataset.examples) - dataset.clips
    yield f"{plural(images, 'image')}, {plural(dataset.clips, 'clip')} can be trained on"
    for bucket, count in dataset.buckets.items():
        yield f"  {bucket}: {count}"
    for finding in dataset.findings:
        yield f"{finding.problem}: {finding.message}"
    yield from dataset.advice


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Context manager: the first Ctrl+C, or a request to terminate, stops after the step; a second one at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])
