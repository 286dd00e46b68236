"""Verifies a clip: renders it again from its receipt and compares frames, and what the file shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.clips.compare import likeness_db
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.clips.provenance import SETUP, UNLIKELY, Provenance
from wan_pipeline.clips.read import last_frame
from wan_pipeline.clips.receipt import Receipt, load_receipt
from wan_pipeline.clips.sound.listen import sound_sha256
from wan_pipeline.errors import GenerationError, OutOfMemory, UserError
from wan_pipeline.jobs.device import TakeDevice
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.planning.memory_plan import is_plan
from wan_pipeline.progress import Observer, Progress, Stage
from wan_pipeline.requests.recover import find_missing
from wan_pipeline.settings import Settings
from wan_pipeline.storage.temporary import temporary_folder

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered

SAME_PICTURE_DB = 35.0
"""PSNR that equal frames reach at least when other versions of x264 have encoded them."""
MAX_THREADS = 1024


@dataclass(frozen=True)
class Verdict:
    """The outcome of rendering a clip again."""

    identical: bool
    """The frames are those of the receipt bit for bit, the file shows them, and its sound is that of the receipt."""
    frames_sha256: str
    """SHA-256 of the frames rendered now."""
    expected_sha256: str
    psnr_db: float | None
    """PSNR of the file to the new frames, encoded alike; None if all pixels are equal or none can be compared."""
    differences: tuple[str, ...] = ()
    """What has changed since the clip was made, or is wrong with the file: a sentence each."""

    @property
    def sentence(self) -> str:
        """For example: Not identical: 41.3 dB. Torch: 2.12.0 then, 2.13.0 now."""
        if self.identical:
            return "Identical: made again, every frame is the same bit for bit."
        measure = "" if self.psnr_db is None else f": {self.psnr_db:.1f} dB"
        return " ".join([f"Not identical{measure}.", *self.differences])

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "differences": list(self.differences)}


def verify(
    clip: Path,
    settings: Settings,
    observer: Observer,
    *,
    deterministic: bool = False,
    checkpoint: Path | None = None,
    device: TakeDevice = nullcontext,
) -> Verdict:
    """Render a clip again from its receipt and compare.

    `deterministic` renders in deterministic mode, and refuses at once if files, versions or hardware have changed; a
    clip that was made in that mode is always rendered in it. An unfinished render is resumed from `checkpoint`.
    Raises UserError for a clip that cannot be rendered here, GenerationError and Cancelled as the engine does.
    """
    receipt = load_receipt(clip)
    last_frame(clip)  # raises StorageError for a file that cannot be decoded, before the long part
    models, loras = ModelLibrary(settings), LoraLibrary.of(settings)
    if missing := find_missing(receipt.request, models, loras, InputFiles(settings.inputs)):
        raise UserError(f"The clip {clip.name} cannot be made again here: {' '.join(missing)}")
    from wan_pipeline.engine.engine import Engine  # here: torch takes seconds, and errors above need not wait

    then = receipt.provenance
    plan = then.plan if is_plan(then.plan) else ""
    mode = deterministic or then.environment.get("strict") == "yes"
    threads = recorded_threads(then) if mode else None
    with device(), Engine(settings, deterministic=mode, threads=threads) as engine:
        if deterministic:
            _refuse_changes(clip, then, engine.provenance(receipt.request, observer, plan))
        with _advise_on_memory(clip):
            rendered = engine.render(receipt.request, observer, checkpoint, plan)
    observer.progress(Progress(Stage.SAVING))
    return _compare(clip, receipt, rendered, settings)


@contextmanager
def _advise_on_memory(clip: Path) -> Iterator[None]:
    """Advise other than for a new clip: in another size or by another plan it would not be this clip."""
    try:
        yield
    except OutOfMemory as error:
        raise GenerationError(
            f"There is not enough free memory to make {clip.name} again as it was made; close what else uses the "
            "device, an open studio above all, and verify it on the command line."
        ) from error


def _compare(clip: Path, receipt: Receipt, rendered: Rendered, settings: Settings) -> Verdict:
    psnr = _psnr(clip, receipt, rendered, settings)
    same_frames = rendered.sha256 == receipt.frames_sha256
    same_picture = psnr is not None and psnr >= SAME_PICTURE_DB
    differences = () if same_frames else receipt.provenance.differences(rendered.provenance)
    if not same_frames and not differences:
        differences = ("Files, versions and settings are all as they were; the receipt may have been changed.",)
    same_sound = receipt.sound is None or sound_sha256(clip) == receipt.sound.sha256
    if not same_sound:
        differences = (*differences, "The sound is not the one in the receipt.")
    if same_frames and not same_picture:
        differences = (
            *differences,
            "The frames are those of the receipt, but the file shows others; it may have been edited.",
        )
    return Verdict(
        identical=same_frames and same_picture and same_sound,
        frames_sha256=rendered.sha256,
        expected_sha256=receipt.frames_sha256,
        psnr_db=None if psnr is None or math.isinf(psnr) else round(psnr, 2),
        differences=differences,
    )


def _psnr(clip: Path, receipt: Receipt, rendered: Rendered, settings: Settings) -> float | None:
    """Decibels between the clip and the new frames, encoded too, so that what encoding loses does not count."""
    with temporary_folder(settings.cache, "verify") as folder:
        again = Path(folder) / "again.mp4"
        encode(rendered.frames, receipt.request.fps, again, None)
        return likeness_db(clip, again)


def _refuse_changes(clip: Path, then: Provenance, now: Provenance) -> None:
    if changes := then.differences(now, ignore=UNLIKELY | SETUP):
        raise UserError(
            f"The clip {clip.name} cannot be verified in deterministic mode, because what it was made with has "
            f"changed: {' '.join(changes)} Verify it without --deterministic to see how much that matters."
        )


def recorded_threads(then: Provenance) -> int | None:
    """The number of CPU threads that the clip was made with."""
    text = then.environment.get("threads", "")
    return min(int(text), MAX_THREADS) if text.isdecimal() and len(text) < 9 and int(text) else None
