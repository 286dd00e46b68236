"""The cases of a GPU benchmark: each in a process of its own, into one JSON that several short calls fill, and a table.

Cases that are in the file already are not run again. A case that fails is noted with its error, and the next one runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.gpu.bench import Bench
from wan_pipeline.engine.device.placement import choose_device
from wan_pipeline.settings import Settings

Results = dict[str, Any]


@dataclass(frozen=True)
class Program:
    """A benchmark as a command."""

    module: str
    """The module that is run, such as `benchmarks.gpu`."""
    description: str
    cases: Mapping[str, Callable[[Bench], Results]]
    table: Callable[[Results], str]
    rounds: int
    """Default number of rounds."""
    within: Callable[[], AbstractContextManager[Any]] = nullcontext
    """What a case runs in, such as `torch.inference_mode`."""

    def main(self) -> None:
        options = self._parser().parse_args()
        if options.cases and not options.tiny:
            check_accelerator()
        if options.inside:
            print(json.dumps(self.run_case(options.cases[0], options.tiny, options.rounds, options.folder)))
            return
        results = json.loads(options.output.read_text("utf-8")) if options.output.is_file() else {}
        with TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            options.folder = options.folder or Path(temporary)
            for name in list(self.cases) if "all" in options.cases else options.cases:
                if "error" in results.get(name, {"error": "not run"}):
                    results[name] = self._in_a_process(name, options)
                    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if options.table:
            options.table.write_text(self.table(results), encoding="utf-8")
        print(self.table(results))

    def run_case(self, name: str, tiny: bool, rounds: int, folder: Path) -> Results:
        """The numbers of a case, made in this process; with the device and the seconds that it took."""
        started = time.perf_counter()
        bench = Bench(tiny, rounds, folder)
        with self.within():
            result = self.cases[name](bench)
        device = torch.cuda.get_device_name() if bench.device.type == "cuda" else bench.device.type
        return {**result, "device": device, "torch": torch.__version__, "took": round(time.perf_counter() - started, 1)}

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=self.description)
        parser.add_argument("cases", nargs="*", choices=[*self.cases, "all", []], default=[])
        parser.add_argument("--output", type=Path, required=True, help="JSON of all cases so far")
        parser.add_argument("--table", type=Path, help="Markdown")
        parser.add_argument("--folder", type=Path, help="keeps what cases write, 27 GB a model (a temporary one)")
        parser.add_argument("--rounds", type=int, default=self.rounds)
        parser.add_argument("--tiny", action="store_true", help="models of three layers, to try the program itself")
        parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # this program as its own child
        return parser

    def _in_a_process(self, name: str, options: argparse.Namespace) -> Results:
        command = [sys.executable, "-m", self.module, "--inside", name, "--rounds", str(options.rounds)]
        command += ["--output", str(options.output), f"--folder={options.folder}"]
        ended = subprocess.run(
            [*command, *(["--tiny"] if options.tiny else [])], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            return {"error": "\n".join(ended.stderr.strip().splitlines()[-12:])}
        result: Results = json.loads(ended.stdout.splitlines()[-1])
        return result


def check_accelerator() -> None:
    """End the program with status 2 and one sentence where only a CPU computes: the real shapes would take hours."""
    if choose_device(Settings().device).type == "cpu":
        print(
            "error: the cases need an accelerator, and this machine has none that torch can use; "
            "run them on one that has, or add --tiny to try the program itself.",
            file=sys.stderr,
        )
        raise SystemExit(2)
