"""From a receipt back to the form: what of it can be had here, and what cannot. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wan_pipeline.clips.receipt import Receipt
from wan_pipeline.clips.videos import kept
from wan_pipeline.errors import LoraError, ModelError, RequestError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.requests.limits import check_request
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.settings import Settings


@dataclass(frozen=True)
class Recovered:
    """The settings of a clip, for the form."""

    draft: Draft
    """Without what is not here."""
    missing: tuple[str, ...]
    """One sentence for each thing that is not here, or not as it was."""
    receipt: Receipt


def recover(receipt: Receipt, settings: Settings, draft_of: Callable[[GenerationRequest], Draft]) -> Recovered:
    """`draft_of` gives the draft of a request as if all were here."""
    request, draft = receipt.request, draft_of(receipt.request)
    models, loras = ModelLibrary(settings), LoraLibrary(settings.loras)
    if _sentence(lambda: models.find(request.model)):
        draft = replace(draft, model=None)
    if not _has_files(request, settings.inputs):
        draft = replace(draft, image=None, last_image=None, control_video=None, control_mask=None, reference_images=())
    here = tuple(lora for lora in request.loras if not _sentence(partial(loras.find, lora.name)))
    return Recovered(replace(draft, loras=here), tuple(find_missing(request, settings)), receipt)


def find_missing(request: GenerationRequest, settings: Settings) -> Iterator[str]:
    """A sentence for each reason why this request, which may come from anywhere, cannot be rendered here."""
    models, loras = ModelLibrary(settings), LoraLibrary(settings.loras)
    if sentence := _sentence(lambda: check_request(request, models.find(request.model).spec)):
        yield sentence
    for lora in request.loras:
        if sentence := _sentence(partial(loras.find, lora.name)):
            yield sentence
    if not _has_files(request, settings.inputs):
        yield f"The clip's input image is not in {settings.inputs}; choose it again under Image to video."


def _has_files(request: GenerationRequest, inputs: Path) -> bool:
    """A name that is no hash is a path to somewhere else."""
    single = (request.image, request.last_image, request.control_video, request.control_mask)
    names = [name for name in (*single, *request.reference_images) if name is not None]
    return all(_is_kept(inputs, name) for name in names)


def _is_kept(inputs: Path, name: str) -> bool:
    path = kept(inputs, name) if re.fullmatch("[0-9a-f]{64}", name) else None
    return path is not None and path.is_file()


def _sentence(look: Callable[[], object]) -> str | None:
    try:
        look()
    except (ModelError, LoraError, RequestError) as error:
        return str(error)
    return None
