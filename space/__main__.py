"""`python -m space`: write the folder of a Space, check it, and with `--run` run it as the Hub would."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from space.check import check
from space.folder import CHECKOUT, files_of, write
from space.hardware import HARDWARE
from space.run import SpaceError, run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m space", description=__doc__)
    parser.add_argument("--hardware", choices=HARDWARE, default="cpu-basic", help="what the Space runs on (cpu-basic)")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build" / "space", help="the folder (build/space)")
    parser.add_argument("--run", action="store_true", help="also install its requirements, serve it and make a clip")
    options = parser.parse_args(arguments)
    try:
        write(options.output, HARDWARE[options.hardware])
        problems = check(options.output)
        print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
        if problems:
            return 1
        print(f"{options.output} is ready to be pushed: {len(files_of(options.output))} files.")
        if options.run:
            run(options.output.resolve())
    except (OSError, SpaceError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
