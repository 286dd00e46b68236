"""What the sheet of a clip shows of its sound and of the ways to finish it."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.clips.receipt import Sound, receipt_beside
from wan_pipeline.clips.sound.listen import ENDINGS, waveform
from wan_pipeline.engine.interpolator.files import interpolators_in
from wan_pipeline.engine.upscaler.files import upscalers_in
from wan_pipeline.errors import GenerationError, ReceiptError
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.planning.hardware import Hardware, load_hardware
from wan_pipeline.planning.sound import plan_for
from wan_pipeline.requests.post_processing import INTERPOLATE_FACTORS, UPSCALE_FACTORS
from wan_pipeline.requests.sound import facts_of, fitting_seconds, propose_prompt
from wan_pipeline.studio import Studio
from wan_pipeline.wording import data_size

WAVE_HEIGHT = 40.0
"""Of the drawing of a waveform, in its own units; a part is 2 wide."""


@dataclass(frozen=True)
class SoundModel:
    """A model for sound, as the sheet offers it."""

    id: str
    title: str
    makes: str
    licence: str
    help: str
    proposal: str
    """A prompt for this clip's sound."""
    seconds: float
    longest: float
    memory: str
    """Whether it fits, in a few words; empty while nothing is known of the machine."""


@dataclass(frozen=True)
class Finishing:
    """All that the sheet needs."""

    sound: Sound | None
    wave: str
    """Path of an SVG; empty without sound."""
    endings: str
    """Of sound files, as a file box takes them."""
    models: tuple[SoundModel, ...]
    upscalers: tuple[str, ...]
    interpolators: tuple[str, ...]
    upscale_factors: tuple[int, ...] = UPSCALE_FACTORS
    smooth_factors: tuple[int, ...] = INTERPOLATE_FACTORS


def finishing_of(studio: Studio, clip: Clip) -> Finishing:
    """Looks at the clip's receipt and sound, and at the models that are here."""
    sound = _sound(clip)
    hardware = load_hardware(studio.settings.cache)
    return Finishing(
        sound=sound,
        wave=wave_path(waveform(clip.path)) if sound and clip.path.is_file() else "",
        endings=",".join(ENDINGS),
        models=tuple(_offer(model, clip, hardware) for model in studio.models.installed_sound()),
        upscalers=upscalers_in(studio.settings.upscalers).names(),
        interpolators=interpolators_in(studio.settings.interpolators).names(),
    )


def sound_facts(sound: Sound | None) -> dict[str, str]:
    """Rows for the table of settings."""
    if sound is None:
        return {}
    facts = [sound.file, f"{sound.gain_db:+g} dB" if sound.gain_db else ""]
    facts.append(f"{sound.measured_lufs:.1f} LUFS" if sound.measured_lufs is not None else "")
    rows = {"Sound": ", ".join(fact for fact in facts if fact)}
    if sound.over:
        rows["Over it"] = sound.over
    if sound.made:
        rows |= {
            "Sound from": sound.made.prompt,
            "Sound made by": f"{sound.made.model}, seed {sound.made.seed}",
            "Sound licence": sound.made.licence,
        }
    return rows


def wave_path(heights: tuple[float, ...]) -> str:
    """An SVG path of bars about the middle line, each as high as its level."""
    middle = WAVE_HEIGHT / 2
    lengths = [max(height * middle, 0.5) for height in heights]
    return "".join(f"M{2 * place + 1} {middle - half:.1f}V{middle + half:.1f}" for place, half in enumerate(lengths))


def _sound(clip: Clip) -> Sound | None:
    try:
        receipt = receipt_beside(clip.path)
    except ReceiptError:  # the sheet shows what the gallery knows
        return None
    return receipt.sound if receipt else None


def _offer(model: InstalledModel, clip: Clip, hardware: Hardware | None) -> SoundModel:
    spec, facts = model.spec, facts_of(model.spec)
    seconds = fitting_seconds(spec, clip.request.num_frames / clip.request.fps)
    return SoundModel(
        id=spec.id,
        title=spec.title,
        makes=facts.makes,
        licence=spec.licence,
        help=facts.prompt_help,
        proposal=propose_prompt(spec, clip.request.prompt),
        seconds=round(seconds, 2),
        longest=facts.max_seconds,
        memory="" if hardware is None else _memory(model, seconds, hardware),
    )


def _memory(model: InstalledModel, seconds: float, hardware: Hardware) -> str:
    try:
        plan = plan_for(model, seconds, hardware)
    except GenerationError as error:
        return str(error)
    return f"takes about {data_size(plan.peak_bytes)}, {plan}"
