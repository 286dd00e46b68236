"""`show` and `verify`: the settings in a clip's receipt, and whether they give the same frames."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.cli.common import EXIT_FAILED, Commands, add_folders, add_memory, opened_studio
from wan_pipeline.requests.inputs.image_fit import ImageFit
from wan_pipeline.requests.sampling.early_end import early_end_text
from wan_pipeline.requests.sampling.guidance_interval import interval_text
from wan_pipeline.wording import data_size

if TYPE_CHECKING:
    from wan_pipeline.clips.receipt import Receipt, Sound
    from wan_pipeline.requests.request import GenerationRequest

SHOW = "Show how a clip was made, from the receipt inside it or beside it."
VERIFY = "Make a clip again from its receipt and compare. The exit status is 0 only if every frame is identical."


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    show = commands.add_parser("show", help="show how a clip was made", description=SHOW, allow_abbrev=False)
    show.add_argument("clip", type=Path, metavar="CLIP.mp4")
    show.add_argument("--json", action="store_true", help="print the whole receipt as one JSON object")
    show.set_defaults(run=run_show)
    add_folders(show)
    verify = commands.add_parser("verify", help="make a clip again and compare", description=VERIFY, allow_abbrev=False)
    verify.add_argument("clip", type=Path, metavar="CLIP.mp4")
    deterministic = "compute with deterministic algorithms only; refuse if files, versions or hardware have changed"
    verify.add_argument("--deterministic", "--strict", action="store_true", help=deterministic)
    verify.add_argument("--json", action="store_true", help="print one JSON object as the last line of stdout")
    verify.set_defaults(run=run_verify, stopped="stopped; nothing is known of the clip.")
    add_memory(verify, limit_only=True)
    add_folders(verify)


def run_show(options: argparse.Namespace) -> int:
    from wan_pipeline.clips.receipt import load_receipt  # here and below: --help needs none of it

    receipt = load_receipt(options.clip)
    if options.json:
        print(json.dumps(receipt.to_dict(), sort_keys=True))
    else:
        print("\n".join(_lines(receipt)))
    return 0


def run_verify(options: argparse.Namespace) -> int:
    from wan_pipeline.cli.progress_line import ProgressLine

    with opened_studio(options) as studio, ProgressLine(sys.stderr) as observer:
        verdict = studio.in_process.verify(options.clip, observer, deterministic=options.deterministic)
    report = {"clip": str(options.clip.resolve()), **verdict.to_dict()}
    print(json.dumps(report) if options.json else verdict.sentence)
    return 0 if verdict.identical else EXIT_FAILED


def _lines(receipt: Receipt) -> list[str]:
    """For a person; names on the left, as in the options of `generate`."""
    request, provenance = receipt.request, receipt.provenance
    facts = {
        "prompt": request.prompt,
        "negative prompt": request.negative_prompt,
        "preset": request.preset,
        "model": f"{request.model} {provenance.revision or ''}",
        "image": request.image,
        "image fit": _framing(request) if request.image else None,
        "last image": request.last_image,
        "control video": request.control_video,
        "control mask": request.control_mask,
        "reference images": ", ".join(request.reference_images),
        "loras": ", ".join(f"{lora.name}={lora.strength}" for lora in request.loras),
        "seed": request.seed,
        "size": f"{request.width} x {request.height}, {request.num_frames} frames at {request.fps} a second",
        "steps": f"{request.num_inference_steps} with {request.scheduler}, flow shift {request.flow_shift:g}",
        "guidance": f"{request.guidance_scale:g}{_second(request.guidance_scale_2)}",
        "guidance interval": _interval(request),
        "step cache": _step_cache(receipt),
        "early end": _early_end(receipt),
        "made": f"{receipt.made_at.isoformat()} with {receipt.made_with}",
        "made on": _hardware(provenance.environment),
        "took": f"{sum(receipt.seconds.values()):.1f} s, {receipt.peak_memory_mb:,.0f} MB at most",
        "weights": provenance.environment.get("quantization"),
        "memory plan": provenance.plan,
        "attempt": receipt.attempt if receipt.attempt > 1 else None,
        "resumed from": f"step {receipt.resumed_from}" if receipt.resumed_from else None,
        "frames sha256": receipt.frames_sha256,
        **_sound(receipt.sound),
        "latents": f"{receipt.latents.file}, {data_size(receipt.latents.bytes)}" if receipt.latents else None,
    }
    width = max(map(len, facts))
    shown = [(name, fact) for name, fact in facts.items() if fact not in (None, "")]
    warnings = [("warning", warning) for warning in receipt.warnings]
    return [f"{name:<{width}}  {_plain(str(fact))}" for name, fact in (*shown, *warnings)]


def _sound(sound: Sound | None) -> dict[str, str | None]:
    if sound is None:
        return {}
    facts = [sound.file, f"{sound.gain_db:+g} dB", f"over it {sound.over}" if sound.over else ""]
    facts.append(f"{sound.measured_lufs:.1f} LUFS" if sound.measured_lufs is not None else "")
    told = {"sound": ", ".join(fact for fact in facts if fact), "sound sha256": sound.sha256}
    if sound.made is None:
        return told
    made = sound.made
    by = f"{made.model} from '{made.prompt}', seed {made.seed}, {made.seconds:g} s"
    return {**told, "sound made": by, "sound licence": made.licence}


def _framing(request: GenerationRequest) -> str:
    return request.image_fit if request.image_fit is ImageFit.PAD else f"{request.image_fit} {request.image_crop:g}"


def _interval(request: GenerationRequest) -> str | None:
    return interval_text(request.guidance_interval) if request.guidance_interval else None


def _step_cache(receipt: Receipt) -> str | None:
    cache, passes = receipt.request.step_cache, receipt.passes
    saved = f"; {passes.saved} of {passes.asked} passes saved" if passes else ""
    return f"{cache}{saved}" if cache else None


def _early_end(receipt: Receipt) -> str | None:
    request, done = receipt.request, receipt.ended_at
    if not request.early_end:
        return None
    what = f"after {done} of {request.num_inference_steps} steps" if done else "not reached"
    return f"{early_end_text(request.early_end)}; {what}"


def _second(guidance: float | None) -> str:
    return "" if guidance is None else f", second expert {guidance:g}"


def _plain(text: str) -> str:
    """On one line, and without what a terminal would obey: the receipt may be anybody's."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def _hardware(environment: dict[str, str]) -> str:
    known = [environment.get(name) for name in ("device_name", "dtype")]
    torch = environment.get("torch")
    return ", ".join([fact for fact in known if fact] + ([f"torch {torch}"] if torch else []))
