"""Train the demo model. `make demo-model` runs all stages; each can be run alone and continues from the one before.

    python -m training pictures --minutes 5     # autoencoder, from random weights
    python -m training steadiness --minutes 4   # autoencoder, on whole clips
    python -m training compact                  # reduce the latents to their 16 principal directions
    python -m training words --minutes 0.6      # text encoder, on captions alone
    python -m training denoiser --minutes 18    # transformer and text encoder
    python -m training export                   # write wan_pipeline/demo/checkpoint
    python -m training import                   # read that checkpoint back into the work folder

Learning rates follow wall time, so a stage finishes its schedule on any GPU. Every clip is rendered on the fly by
`demo.scenes`; the combinations in `vocabulary.is_held_out` are never shown to the transformer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training.autoencoder.training import train_pictures, train_steadiness
from training.compact import compact
from training.denoiser.training import train_denoiser
from training.distributed import run_on_all_gpus, set_up
from training.export import export_checkpoint, import_checkpoint
from training.words import train_words
from wan_pipeline.settings import Settings

CHANNELS = 16
"""Latent channels after `compact`."""
CHECKPOINT = Settings.demo_checkpoint
ALL = ("pictures", "steadiness", "compact", "words", "denoiser", "export")
MINUTES = {"pictures": 5.0, "steadiness": 4.0, "words": 0.6, "denoiser": 18.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*ALL, "all", "import"])
    parser.add_argument("--minutes", type=float, help="wall time of this stage")
    parser.add_argument("--work", type=Path, default=Path("build/demo"), help="folder for the weights between stages")
    parser.add_argument("--to", type=Path, default=CHECKPOINT, help="checkpoint folder to export to or import from")
    parser.add_argument(
        "--part",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("START", "END"),
        help="share of the denoiser's schedule to run, from 0 to 1",
    )
    parser.add_argument("--batch", type=int, help="clips per step and process")
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    set_up()
    options.work.mkdir(parents=True, exist_ok=True)
    stages = ALL if options.stage == "all" else (options.stage,)
    for stage in stages:
        run(stage, options)


def run(stage: str, options: argparse.Namespace) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    minutes, work, seed = options.minutes or MINUTES.get(stage, 0.0), options.work, options.seed
    match stage:
        case "pictures":
            run_on_all_gpus(train_pictures, minutes=minutes, work=work, batch=options.batch or 32, seed=seed)
        case "steadiness":
            run_on_all_gpus(train_steadiness, minutes=minutes, work=work, batch=options.batch or 32, seed=seed)
        case "words":
            train_words(minutes, work, device, seed)
        case "denoiser":
            run_on_all_gpus(
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
