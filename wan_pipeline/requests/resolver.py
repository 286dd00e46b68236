"""From drafts to requests and back: what is here to make a clip with, and whether a draft can be made with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wan_pipeline.clips import images
from wan_pipeline.clips.videos import check_length, ingest_video, kept
from wan_pipeline.errors import ImageError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.requests import presets
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.speeds import find_speed, load_speeds
from wan_pipeline.settings import Settings


class RequestResolver:
    """The models, presets and LoRAs of a studio, and the requests that can be made of them."""

    def __init__(self, settings: Settings) -> None:
        """Raises PresetError for a bad preset file."""
        self._inputs = settings.inputs
        self.models = ModelLibrary(settings)
        self.presets = presets.load_presets(settings.presets)
        self.speeds = load_speeds(settings.presets / "speeds")
        self.loras = LoraLibrary(settings.loras)

    def resolve(self, draft: Draft) -> GenerationRequest:
        """The whole request. Every UserError that can be known before weights are loaded is raised here."""
        return self.with_files(self.check(draft), draft)

    def check(self, draft: Draft) -> GenerationRequest:
        """As `resolve`, but images are only measured, and nothing is written."""
        model = self.models.find(draft.model or registry.DEFAULT_MODEL)
        request = self.request(draft)
        for lora in request.loras:
            match_adapters(self.loras.find(lora.name), model)
        self._check_control(draft, request)
        return request

    def request(self, draft: Draft) -> GenerationRequest:
        """As `check`, but whether the model is here and what is in LoRAs is not looked at."""
        spec = self.models.spec(draft.model or registry.DEFAULT_MODEL)
        preset = presets.find_preset(self.presets, draft.preset) if draft.preset else None
        speed = find_speed(self.speeds, draft.speed) if draft.speed else None
        size = images.measure(draft.image) if draft.image else None
        for picture in (draft.last_image, *draft.reference_images):
            if picture is not None:
                images.measure(picture)
        request = presets.resolve(draft, spec, preset, presets.PENDING if size else None, size, speed)
        if speed:
            speed.check_files(self.loras)
        return request

    def with_files(self, request: GenerationRequest, draft: Draft) -> GenerationRequest:
        """Files are decoded, and kept, last: when all else is right. Raises ImageError or StorageError."""
        return replace(
            request,
            image=self._picture(draft.image),
            last_image=self._picture(draft.last_image),
            control_video=None if draft.control_video is None else ingest_video(draft.control_video, self._inputs),
            control_mask=self._mask(draft.control_mask),
            reference_images=tuple(images.ingest(path, self._inputs).sha256 for path in draft.reference_images),
        )

    def _check_control(self, draft: Draft, request: GenerationRequest) -> None:
        """Are the videos long enough? Raises ImageError."""
        given = {"control video": draft.control_video, "control mask": draft.control_mask}
        for name, path in given.items():
            if path is not None and not (name == "control mask" and _is_picture(path)):
                check_length(path, name, request.fps, request.num_frames)

    def _picture(self, path: Path | None) -> str | None:
        return None if path is None else images.ingest(path, self._inputs).sha256

    def _mask(self, path: Path | None) -> str | None:
        """Of a picture or of a video, whichever it is."""
        if path is None or _is_picture(path):
            return self._picture(path)
        return ingest_video(path, self._inputs)

    def draft_of(self, request: GenerationRequest) -> Draft:
        """A draft that resolves to this request again, though its style be gone, or be worded otherwise now."""
        preset = self.presets.get(request.preset or "")
        known = preset is not None and preset.styled(request.prompt) == request.styled_prompt
        return Draft(
            prompt=request.prompt if known or request.preset is None else request.styled_prompt,
            image=kept(self._inputs, request.image),
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
            guidance_scale_2=request.guidance_scale_2,
            quantization=request.quantization,
            first_block_cache=request.first_block_cache or None,
            last_image=kept(self._inputs, request.last_image),
            control_video=kept(self._inputs, request.control_video),
            control_mask=kept(self._inputs, request.control_mask),
            reference_images=tuple(
                path for name in request.reference_images if (path := kept(self._inputs, name)) is not None
            ),
        )


def _is_picture(path: Path) -> bool:
    try:
        images.measure(path)
    except ImageError:
        return False
    return True
