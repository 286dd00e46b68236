"""Train the demo model. `make demo-model` runs all of it; each stage can be run alone and goes on from the last.

    python -m training pictures --minutes 5     # autoencoder, from random weights
    python -m training steadiness --minutes 4   # autoencoder, on whole clips
    python -m training compact                  # latents to their 16 principal directions
    python -m training words --minutes 0.6      # text encoder, on captions alone
    python -m training denoiser --minutes 18    # transformer and text encoder
    python -m training export                   # into wan_pipeline/demo/checkpoint
    python -m training import                   # the shipped weights back into the work folder

Schedules run on the clock, so a stage ends well whatever the card. Every clip is drawn on the fly by `scenes`; the
combinations in `vocabulary.is_held_out` are never shown to the transformer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training.autoencoder import train_pictures, train_steadiness
from training.compact import compact
from training.denoiser import train_denoiser
from training.export import export_checkpoint, import_checkpoint
from training.team import prepare, with_all_gpus
from training.words import teach_words
from wan_pipeline.settings import Settings

CHANNELS = 16
"""Latent channels that `compact` leaves."""
CHECKPOINT = Settings.demo_checkpoint
ALL = ("pictures", "steadiness", "compact", "words", "denoiser", "export")
MINUTES = {"pictures": 5.0, "steadiness": 4.0, "words": 0.6, "denoiser": 18.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*ALL, "all", "import"])
    parser.add_argument("--minutes", type=float, help="length of this stage")
    parser.add_argument("--work", type=Path, default=Path("build/demo"), help="where stages keep their weights")
    parser.add_argument("--to", type=Path, default=CHECKPOINT, help="the checkpoint's folder")
    parser.add_argument(
        "--part", type=float, nargs=2, default=(0.0, 1.0), metavar=("START", "END"), help="of the denoiser's schedule"
    )
    parser.add_argument("--batch", type=int, help="clips a step")
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    prepare()
    options.work.mkdir(parents=True, exist_ok=True)
    stages = ALL if options.stage == "all" else (options.stage,)
    for stage in stages:
        run(stage, options)


def run(stage: str, options: argparse.Namespace) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    minutes, work, seed = options.minutes or MINUTES.get(stage, 0.0), options.work, options.seed
    match stage:
        case "pictures":
            with_all_gpus(train_pictures, minutes=minutes, work=work, batch=options.batch or 32, seed=seed)
        case "steadiness":
            with_all_gpus(train_steadiness, minutes=minutes, work=work, batch=options.batch or 32, seed=seed)
        case "words":
            teach_words(minutes, work, device, seed)
        case "denoiser":
            with_all_gpus(
                train_denoiser,
                minutes=minutes,
                work=work,
                batch=options.batch or 128,
                seed=seed,
                part=tuple(options.part),
            )
        case "compact":
            compact(work, CHANNELS, device, seed)
        case "export":
            export_checkpoint(work, options.to)
        case "import":
            import_checkpoint(options.to, work)


if __name__ == "__main__":
    main()
