"""Measure whether the demo model shows what was asked: held-out prompts, rendered by the engine, judged from pixels.

    python -m benchmarks.demo.quality --output benchmarks/results/demo_quality.json

Frames and rows are saved in `--work` (rows.jsonl and one .npz per clip), so that an interrupted run resumes; judging is
fast and repeated each time. A work folder belongs to one checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before torch is imported

# isort: split
import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from PIL import Image

from benchmarks.demo.report import Measured, describe, table, weights_sha256
from training.judge import Judge, Verdict
from wan_pipeline.clips.inputs.images import ingest
from wan_pipeline.demo.captions import SceneWords, full_caption
from wan_pipeline.demo.scenes import CHANCES, Scenes, render, split
from wan_pipeline.demo.vocabulary import COLORS, MOTIONS, OBJECTS, PLACES
from wan_pipeline.engine.decoding.decode import decode
from wan_pipeline.engine.device.cpu_convolution import use_onednn
from wan_pipeline.engine.engine import Engine
from wan_pipeline.models.registry import DEMO
from wan_pipeline.progress import SilentObserver
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.settings import REPOSITORY, Settings

SEED = 20261122
TEXTS = 200
WORDS = {"object": OBJECTS, "color": COLORS, "motion": MOTIONS, "place": PLACES}
WIDTH, HEIGHT, FRAMES = DEMO.sizes[0].width, DEMO.sizes[0].height, DEMO.num_frames


@dataclass(frozen=True)
class Task:
    """One clip to render: a held-out combination as (object, color, motion, place), its prompt and its seed."""

    name: str
    combination: tuple[int, int, int, int]
    prompt: str
    seed: int
    from_image: bool


# Tasks -----------------------------------------------------------------------------------------------------


def draw_tasks(clips: int, images: int) -> list[Task]:
    """Return the first `clips` of TEXTS held-out combinations for text to video and `images` others for image to video.

    A smaller run has the first tasks of a larger one.
    """
    table = split(held_out=True)
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(SEED)).tolist()
    if clips > TEXTS or images > len(order) - TEXTS:
        raise SystemExit(f"At most {TEXTS} clips and {len(order) - TEXTS} images are held out; ask for fewer.")
    texts = [_task(f"text-{k:03d}", k, table[order[k]].tolist(), False) for k in range(clips)]
    places = [(k, TEXTS + k) for k in range(images)]
    return texts + [_task(f"image-{k:03d}", n, table[order[n]].tolist(), True) for k, n in places]


def _task(name: str, number: int, combination: list[int], from_image: bool) -> Task:
    obj, color, motion, place = combination
    prompt = full_caption(SceneWords(obj, color, motion, place, look=0), random.Random(f"{SEED} {name}"))
    return Task(name, (obj, color, motion, place), prompt, SEED % 100_000 + number, from_image)


def draw_scene(combination: tuple[int, int, int, int], seed: int) -> Scenes:
    """Return a scene of the combination in natural light, everything else random."""
    chance = torch.rand(1, CHANCES, generator=torch.Generator().manual_seed(seed))
    obj, color, motion, place = torch.tensor([combination]).unbind(1)
    return Scenes(obj, color, motion, place, look=torch.tensor([0]), chance=chance)


def to_bytes(pixels: torch.Tensor) -> NDArray[np.uint8]:
    """Convert (1, 3, T, H, W) in 0..1 to uint8 (T, H, W, 3)."""
    frames: NDArray[np.uint8] = pixels[0].permute(1, 2, 3, 0).mul(255).round().to(torch.uint8).numpy()
    return frames


# Rendering ------------------------------------------------------------------------------------------------------


def make_clips(tasks: list[Task], settings: Settings, work: Path) -> None:
    """Render the clips that `work` does not hold yet. A row is written after its frames."""
    done = {row["name"] for row in read_rows(work)}
    missing = [task for task in tasks if task.name not in done]
    if not missing:
        return
    with Engine(settings) as engine, (work / "rows.jsonl").open("a", encoding="utf-8") as rows:
        warm_up(engine)
        for count, task in enumerate(missing, 1):
            row = _make(task, engine, settings, work)
            rows.write(json.dumps(row) + "\n")
            rows.flush()
            print(f"{count}/{len(missing)} {task.name} {row['seconds']:.1f} s: {task.prompt}", file=sys.stderr)


def _make(task: Task, engine: Engine, settings: Settings, work: Path) -> dict[str, Any]:
    image = _given_image(task, settings, work) if task.from_image else None
    size = (WIDTH, HEIGHT) if image else None
    request = resolve(Draft(prompt=task.prompt, seed=task.seed), DEMO, None, image, size)
    started = time.monotonic()
    rendered = engine.render(request, SilentObserver())
    seconds = time.monotonic() - started
    np.savez_compressed(work / f"{task.name}.npz", frames=rendered.frames)
    return {**asdict(task), "seconds": round(seconds, 3), "frames_sha256": rendered.sha256}


def _given_image(task: Task, settings: Settings, work: Path) -> str:
    path = work / f"{task.name}.png"
    Image.fromarray(given_frame(task)).save(path)
    return ingest(path, settings.inputs).sha256


def given_frame(task: Task) -> NDArray[np.uint8]:
    """Return the first frame of the task's scene, uint8 (H, W, 3)."""
    pixels, _ = render(draw_scene(task.combination, task.seed), WIDTH, HEIGHT, torch.arange(1), FRAMES)
    frame: NDArray[np.uint8] = to_bytes(pixels)[0]
    return frame


def warm_up(engine: Engine) -> float:
    """Render a default text-to-video clip and return the seconds it took."""
    request = resolve(Draft(prompt="a red ball bounces over green hills", seed=0), DEMO, None, None, None)
    started = time.monotonic()
    engine.render(request, SilentObserver())
    return time.monotonic() - started


def read_rows(work: Path, name: str = "rows") -> list[dict[str, Any]]:
    path = work / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def time_clips(settings: Settings, count: int) -> list[float]:
    """Time default clips with the model loaded, with torch's default number of threads."""
    with Engine(settings) as engine:
        warm_up(engine)
        return [warm_up(engine) for _ in range(count)]


# The autoencoder ---------------------------------------------------------------------------------------------------


@torch.inference_mode()
def pass_scenes(count: int, checkpoint: Path, work: Path) -> None:
    """Encode and decode held-out scenes; save a row with the PSNR of each, and the frames before and after."""
    done = len(read_rows(work, "scenes"))
    table = split(held_out=True)
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(SEED + 1))
    vae = AutoencoderKLWan.from_pretrained(checkpoint / "vae", torch_dtype=torch.float32).eval()
    use_onednn(vae)
    with (work / "scenes.jsonl").open("a", encoding="utf-8") as rows:
        for number in range(done, count):
            combination = tuple(table[order[number % len(order)]].tolist())
            pixels, _ = render(draw_scene(combination, SEED + number), WIDTH, HEIGHT, torch.arange(FRAMES), FRAMES)
            drawn, restored = to_bytes(pixels), restore(vae, pixels)
            np.savez_compressed(work / f"scene-{number:03d}.npz", drawn=drawn, restored=restored)
            row = {"name": f"scene-{number:03d}", "combination": combination, "psnr_db": psnr(drawn, restored)}
            rows.write(json.dumps(row) + "\n")
            rows.flush()


def restore(vae: AutoencoderKLWan, pixels: torch.Tensor) -> NDArray[np.uint8]:
    """Encode and decode pixels (1, 3, T, H, W) in 0..1 as the engine does; return uint8 (T, H, W, 3)."""
    latents = vae.encode(pixels * 2 - 1).latent_dist.mode()
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    return decode(vae, (latents - mean) / std, SilentObserver())


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))


# Judging -----------------------------------------------------------------------------------------------------------


def judged(row: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """Return the row with what was asked and what the judge sees, in words."""
    seen = (verdict.obj, verdict.color, verdict.motion, verdict.place)
    return row | {
        "asked": {name: words[k] for (name, words), k in zip(WORDS.items(), row["combination"], strict=True)},
        "seen": {name: None if k is None else words[k] for (name, words), k in zip(WORDS.items(), seen, strict=True)},
    }


def judge_clips(rows: list[dict[str, Any]], judge: Judge, work: Path, key: str = "frames") -> list[dict[str, Any]]:
    results = []
    for row in rows:
        with np.load(work / f"{row['name']}.npz") as clip:
            results.append(judged(row, judge.judge(clip[key])))
    return results


def judge_images(rows: list[dict[str, Any]], work: Path) -> list[dict[str, Any]]:
    """Return the rows of image to video with the first frame's PSNR to the given image."""
    results = []
    for row in rows:
        with np.load(work / f"{row['name']}.npz") as clip, Image.open(work / f"{row['name']}.png") as image:
            results.append(row | {"first_frame_psnr_db": psnr(clip["frames"][0], np.asarray(image))})
    return results


def run(options: argparse.Namespace) -> Measured:
    """Render what is missing, then judge everything."""
    settings = Settings(workspace=options.work / "workspace", demo_checkpoint=options.checkpoint)
    settings.make_folders()
    claim(options.work, weights_sha256(options.checkpoint))
    tasks = draw_tasks(options.clips, options.images)
    make_clips(tasks, settings, options.work)
    pass_scenes(options.scenes, options.checkpoint, options.work)
    judge = Judge()
    wanted = {task.name for task in tasks}
    rows = judge_clips([row for row in read_rows(options.work) if row["name"] in wanted], judge, options.work)
    scenes = read_rows(options.work, "scenes")[: options.scenes]
    seconds = time_clips(settings, options.timed)
    return Measured(
        texts=[row for row in rows if not row["from_image"]],
        images=judge_images([row for row in rows if row["from_image"]], options.work),
        drawn=judge_clips(scenes, judge, options.work, "drawn"),
        restored=judge_clips(scenes, judge, options.work, "restored"),
        seconds=seconds,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def claim(work: Path, weights: str) -> None:
    """Exit if the folder holds clips of other weights."""
    note = work / "checkpoint.txt"
    if not note.exists():
        note.write_text(weights, encoding="utf-8")
    if note.read_text(encoding="utf-8") != weights:
        raise SystemExit(f"{work} holds clips of another checkpoint; delete it or choose another with --work.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200, help="text-to-video clips")
    parser.add_argument("--images", type=int, default=60, help="image-to-video clips")
    parser.add_argument("--scenes", type=int, default=100, help="rendered scenes for the autoencoder and the judge")
    parser.add_argument("--timed", type=int, default=5, help="clips to time with the model loaded")
    parser.add_argument("--checkpoint", type=Path, default=Settings().demo_checkpoint)
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "demo_quality")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    measured = run(options)
    report = describe(measured, options.checkpoint, SEED)
    print(table(report))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
