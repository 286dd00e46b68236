"""Whether two checkouts of this program make the same frames on this machine, bit for bit.

    git worktree add /tmp/before 5fe8da8
    python -m benchmarks.same_frames /tmp/before .

Each clip is made by the bundled demo model from the command line of each checkout, in a process and a workspace of its
own. The second checkout then verifies the first one's clip by its receipt. Bits differ between processors and versions,
so nothing is compared with an earlier run. The exit status is 0 if everything is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

CLIP = ("--seed", "7", "--width", "160", "--height", "160", "--frames", "9", "--steps", "4", "--preset", "natural")
PROMPT = "a red balloon flies up over green hills"
MODULES = ("blocks.0.attn1.to_q", "blocks.3.attn2.to_v", "blocks.7.attn1.to_out.0")
"""Of the demo's transformer; all are 320 x 320."""
RANK, WIDTH = 4, 320


@dataclass(frozen=True)
class Case:
    """One clip: what the command line is given beside CLIP."""

    name: str
    options: tuple[str, ...] = ()


CASES = (
    Case("text"),
    Case("image", ("--image", "image.png")),
    Case("LoRA", ("--lora", "style=0.8")),
    Case("int8 resident", ("--plan", "resident,int8")),
    Case("int8 streamed", ("--plan", "streamed,int8,blocks=2,chunk=64")),
    Case("fp8 streamed", ("--plan", "streamed,fp8,chunk=64,text=streamed")),
    Case("bf16 streamed from disk", ("--plan", "streamed,bf16,chunk=64,disk=1")),
    Case("tiles", ("--plan", "resident,fp32,tile=96")),
    Case("deterministic", ("--strict",)),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_frames", description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--only", nargs="*", choices=[case.name for case in CASES], help="some of the clips")
    options = parser.parse_args()
    cases = [case for case in CASES if not options.only or case.name in options.only]
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        write_inputs(Path(folder))
        same = [compare(case, options.before.resolve(), options.after.resolve(), Path(folder)) for case in cases]
    print(f"{sum(same)} of {len(same)} are the same")
    return 0 if all(same) else 1


def write_inputs(folder: Path) -> None:
    """An image, and a LoRA in fp32, which is mapped from its file."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (6, 10, 3), dtype=np.uint8)
    Image.fromarray(small).resize((320, 192), Image.Resampling.BICUBIC).save(folder / "image.png")
    shapes = {"lora_A": (RANK, WIDTH), "lora_B": (WIDTH, RANK)}
    (folder / "loras").mkdir()
    save_file(
        {
            f"transformer.{module}.{name}.weight": random.normal(0, 0.05, shape).astype(np.float32)
            for module in MODULES
            for name, shape in shapes.items()
        },
        folder / "loras" / "style.safetensors",
    )


def compare(case: Case, before: Path, after: Path, folder: Path) -> bool:
    """Make the clip with both checkouts and verify the first one's with the second. Prints one line."""
    checkouts = (before, after)
    clips = [folder / f"{case.name} {name}.mp4" for name in ("before", "after")]
    workspaces = [folder / f"{case.name} workspace {name}" for name in ("before", "after")]
    hashes = [generate(*made, case, folder) for made in zip(checkouts, clips, workspaces, strict=True)]
    # In the workspace of the clip, which holds its input image: so an old workspace is opened too.
    verdict = run(after, folder, "verify", str(clips[0]), "--workspace", str(workspaces[0]))
    is_same = hashes[0] == hashes[1] and verdict["identical"] is True
    verified = "verified" if verdict["identical"] else f"not verified: {' '.join(verdict['differences'])}"
    print(f"{case.name:<24} {' '.join(text[:16] for text in hashes)}  {verified}", flush=True)
    return is_same


def generate(checkout: Path, clip: Path, workspace: Path, case: Case, folder: Path) -> str:
    """The SHA-256 of the frames."""
    options = (*CLIP, *case.options, "--prompt", PROMPT, "--output", str(clip), "--workspace", str(workspace))
    return str(run(checkout, folder, "generate", *options)["frames_sha256"])


def run(checkout: Path, folder: Path, command: str, *options: str) -> dict[str, object]:
    """The report of a command of the checkout, run in `folder`. Verifying fails the command if frames differ."""
    loras = ("--loras-folder", str(folder / "loras"))
    ended = subprocess.run(
        [sys.executable, "-m", "wan_pipeline", command, *options, *loras, "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if not ended.stdout.strip():
        raise SystemExit(f"{checkout}: {command} failed:\n{ended.stderr.strip()}")
    report: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return report


if __name__ == "__main__":
    sys.exit(main())
