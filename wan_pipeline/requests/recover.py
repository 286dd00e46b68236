"""From the request of a clip back to a draft: what of it can be made here, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from wan_pipeline.errors import LoraError, ModelError, RequestError
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.requests.inputs.pictures import Pictures
from wan_pipeline.requests.limits import check_request
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver

_FILES = {
    "image": "input image",
    "last_image": "last image",
    "control_video": "control video",
    "control_mask": "control mask",
    "reference_images": "reference image",
}


@dataclass(frozen=True)
class Recovered:
    """The settings of a clip, for the form."""

    draft: Draft
    """Without what is missing."""
    missing: tuple[str, ...]
    """One sentence for each thing that is missing, or that the model cannot make."""
    request: GenerationRequest


def recover(request: GenerationRequest, resolver: RequestResolver) -> Recovered:
    """Make a draft of a request from anywhere, without the model, LoRAs and files that are missing here."""
    models, loras, pictures = resolver.models, resolver.loras, resolver.pictures
    absent: dict[str, Any] = {field: getattr(Draft(), field) for field in _missing_files(request, pictures)}
    if _error(partial(models.find, request.model)):
        absent["model"] = None
    absent["loras"] = tuple(lora for lora in request.loras if not _error(partial(loras.find, lora.name)))
    missing = find_missing(request, models, loras, pictures)
    return Recovered(replace(resolver.draft_of(request), **absent), missing, request)


def find_missing(
    request: GenerationRequest, models: ModelLibrary, loras: LoraLibrary, pictures: Pictures
) -> tuple[str, ...]:
    """One sentence for each reason why a request from anywhere cannot be rendered here."""
    needs: list[Callable[[], object]] = [lambda: check_request(request, models.find(request.model).spec)]
    needs += [partial(loras.find, lora.name) for lora in request.loras]
    errors = [error for need in needs if (error := _error(need))]
    files = [_FILES[field] for field in _missing_files(request, pictures)]
    return (*errors, *(f"The clip's {file} is not in this workspace; choose it again." for file in files))


def _missing_files(request: GenerationRequest, pictures: Pictures) -> list[str]:
    """The fields of the request that name a file that is not saved here."""
    fields = []
    for field in _FILES:
        value: str | tuple[str, ...] | None = getattr(request, field)
        names = (value,) if isinstance(value, str) else value or ()
        paths = [pictures.find(name) for name in names]
        if not all(path is not None and path.is_file() for path in paths):
            fields.append(field)
    return fields


def _error(call: Callable[[], object]) -> str | None:
    """The sentence of the error that a call raises; None if it raises none."""
    try:
        call()
    except (ModelError, LoraError, RequestError) as error:
        return str(error)
    return None
