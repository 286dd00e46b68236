"""Makes a sound for a clip, and a new clip that has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from wan_pipeline.clips.export.source import open_source
from wan_pipeline.clips.receipt import MadeSound, load_receipt
from wan_pipeline.clips.sound.add import SoundOrder, add_sound, name_with_sound
from wan_pipeline.clips.sound.wav import write_wav
from wan_pipeline.jobs.device import device_without_queue
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.requests.sound import SoundRequest, fitting_seconds, resolve_sound
from wan_pipeline.settings import Settings
from wan_pipeline.storage.temporary import temporary_folder


@dataclass(frozen=True)
class SoundDraft:
    """A sound for a clip, as a person asks for it. What is None is chosen: the clip's length, a random seed."""

    prompt: str
    model: str = ""
    """Empty for the first one that is here."""
    seconds: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class SoundingClip:
    """A new clip whose sound a model made."""

    path: Path
    request: SoundRequest
    licence: str
    lufs: float | None
    sound_sha256: str | None

    def to_dict(self) -> dict[str, Any]:
        """The fields of `sound make --json`."""
        facts = {"licence": self.licence, "lufs": self.lufs, "sound_sha256": self.sound_sha256}
        return {"clip": str(self.path.resolve()), **asdict(self.request), **facts}


def resolve_for_clip(clip: Path, draft: SoundDraft, library: ModelLibrary) -> tuple[InstalledModel, SoundRequest]:
    """What is to be made, and the model for it. Raises UserError."""
    load_receipt(clip)
    source = open_source(clip, with_latents=False)
    model = library.find_sound(draft.model)
    own = fitting_seconds(model.spec, float(Fraction(source.frames) / source.rate))
    seconds = own if draft.seconds is None else draft.seconds
    return model, resolve_sound(model.spec, draft.prompt, seconds, draft.seed)


def make_for_clip(
    clip: Path,
    draft: SoundDraft,
    settings: Settings,
    observer: Observer,
    mix: SoundOrder | None = None,
    output: Path | None = None,
) -> SoundingClip:
    """Make a sound and a new clip with it, beside the old one or at `output`. The caller holds the device.

    `mix` says how it lies under the clip; its file is replaced. Raises UserError, GenerationError and Cancelled.
    """
    model, request = resolve_for_clip(clip, draft, ModelLibrary(settings))
    from wan_pipeline.engine.sound.make import make_sound  # here: torch takes seconds to import

    with temporary_folder(settings.cache, "sound") as folder:
        made = make_sound(model, request, settings, observer)
        observer.progress(Progress(Stage.SAVING))
        file = Path(folder) / f"{model.spec.id}.wav"
        write_wav(made.samples, made.sample_rate, file)
        made_sound = MadeSound(
            **asdict(request),
            steps=model.spec.num_inference_steps,
            licence=model.spec.licence,
            fingerprint=model.fingerprint,
            revision=model.revision or "",
            plan=str(made.plan),
            environment=made.environment,
        )
        new = add_sound(
            clip,
            replace(mix or SoundOrder(file), file=file, made=made_sound),
            output or name_with_sound(clip, settings.clips),
        )
    sound = load_receipt(new).sound
    return SoundingClip(
        new, request, model.spec.licence, sound.measured_lufs if sound else None, sound.sha256 if sound else None
    )


def make_now(
    clip: Path,
    draft: SoundDraft,
    settings: Settings,
    observer: Observer,
    mix: SoundOrder | None = None,
    output: Path | None = None,
) -> SoundingClip:
    """As `make_for_clip`, once nothing else of the workspace uses the device; a training gives it up."""
    resolve_for_clip(clip, draft, ModelLibrary(settings))  # what is wrong is said before the device is waited for
    with device_without_queue(settings, observer):
        return make_for_clip(clip, draft, settings, observer, mix, output)
