"""`python -m training.judge train`: train the judge's nets."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from training.judge.judge import WEIGHTS
from training.judge.training import train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.judge", description=__doc__)
    parser.add_argument("command", choices=["train"])
    parser.add_argument("--scenes", type=int, default=6000, help="frames to render")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--to", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(arguments.scenes, arguments.steps, arguments.to)


if __name__ == "__main__":
    main()
