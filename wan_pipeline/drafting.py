"""From drafts to requests and back: what is here to make a clip with, and whether a draft can be made with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wan_pipeline import presets
from wan_pipeline.clips import images
from wan_pipeline.lora.check import check_fits
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.settings import Settings


class Drafting:
    """The models, presets and LoRAs of a studio, and the requests that can be made of them."""

    def __init__(self, settings: Settings) -> None:
        """Raises PresetError for a bad preset file."""
        self._inputs = settings.inputs
        self.models = ModelLibrary(settings)
        self.presets = presets.load_presets(settings.presets)
        self.loras = LoraLibrary(settings.loras)

    def resolve(self, draft: Draft) -> GenerationRequest:
        """The whole request. Every UserError that can be known before weights are loaded is raised here."""
        return self.with_image(self.check(draft), draft.image)

    def check(self, draft: Draft) -> GenerationRequest:
        """As `resolve`, but the image is only measured, and nothing is written."""
        model = self.models.find(draft.model or registry.DEFAULT_MODEL)
        request = self.request(draft)
        for lora in request.loras:
            check_fits(self.loras.path(lora.name), model)
        return request

    def request(self, draft: Draft) -> GenerationRequest:
        """As `check`, but whether model and LoRAs are here is not looked at."""
        spec = self.models.spec(draft.model or registry.DEFAULT_MODEL)
        preset = presets.find_preset(self.presets, draft.preset) if draft.preset else None
        size = images.measure(draft.image) if draft.image else None
        return presets.resolve(draft, spec, preset, "pending" if size else None, size)

    def with_image(self, request: GenerationRequest, image: Path | None) -> GenerationRequest:
        """The image is decoded, and kept, last: when all else is right. Raises ImageError or StorageError."""
        if image is None:
            return request
        return replace(request, image=images.ingest(image, self._inputs).sha256)

    def draft_of(self, request: GenerationRequest) -> Draft:
        """A draft that resolves to this request again, though its style be gone, or be worded otherwise now."""
        preset = self.presets.get(request.preset or "")
        known = preset is not None and preset.styled(request.prompt) == request.styled_prompt
        return Draft(
            prompt=request.prompt if known or request.preset is None else request.styled_prompt,
            image=self._inputs / f"{request.image}.png" if request.image else None,
            model=request.model,
            preset=request.preset if known else None,
            negative_prompt=request.negative_prompt,
            seed=request.seed,
            width=request.width,
            height=request.height,
            num_frames=request.num_frames,
            fps=request.fps,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            flow_shift=request.flow_shift,
            scheduler=request.scheduler,
            loras=tuple(LoraChoice(lora.name, lora.weight) for lora in request.loras),
        )
