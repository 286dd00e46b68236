"""From drafts to requests and back, with what a studio has: models, presets, speeds, LoRAs and input files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wan_pipeline.errors import ImageError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.requests.pictures import Pictures
from wan_pipeline.requests.presets import Preset, find_preset
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.resolve import PENDING, resolve
from wan_pipeline.requests.speeds import Speed, find_speed


class RequestResolver:
    """Turns drafts into requests, in three steps: `resolve_settings`, `check`, `resolve`; each does all before it."""

    def __init__(
        self,
        models: ModelLibrary,
        presets: Mapping[str, Preset],
        speeds: Mapping[str, Speed],
        loras: LoraLibrary,
        pictures: Pictures,
    ) -> None:
        self.models = models
        self.presets = presets
        self.speeds = speeds
        self.loras = loras
        self.pictures = pictures

    def resolve(self, draft: Draft) -> GenerationRequest:
        """The complete request, its files saved. Raises every UserError that can be known before weights are loaded."""
        return self.with_files(self.check(draft), draft)

    def check(self, draft: Draft) -> GenerationRequest:
        """As `resolve`, but no file is saved: their names are PENDING."""
        model = self.models.find(draft.model or registry.DEFAULT_MODEL)
        request = self.resolve_settings(draft)
        for lora in request.loras:
            match_adapters(self.loras.find(lora.name), model)
        self._check_lengths(draft, request)
        return request

    def resolve_settings(self, draft: Draft) -> GenerationRequest:
        """As `check`, but the model need not be installed, and LoRAs and videos are not opened."""
        spec = self.models.spec(draft.model or registry.DEFAULT_MODEL)
        preset = find_preset(self.presets, draft.preset) if draft.preset else None
        speed = find_speed(self.speeds, draft.speed) if draft.speed else None
        size = self.pictures.measure(draft.image) if draft.image else None
        for picture in (draft.last_image, *draft.reference_images):
            if picture is not None:
                self.pictures.measure(picture)
        request = resolve(draft, spec, preset, PENDING if size else None, size, speed)
        if speed:
            speed.check_files(self.loras)
        return request

    def with_files(self, request: GenerationRequest, draft: Draft) -> GenerationRequest:
        """Save the draft's files and name them in the request. Raises ImageError or StorageError."""
        video, pictures = draft.control_video, self.pictures
        return replace(
            request,
            image=self._save_picture(draft.image),
            last_image=self._save_picture(draft.last_image),
            control_video=None if video is None else pictures.save_video(video, request.fps),
            control_mask=self._save_mask(draft.control_mask, request.fps),
            reference_images=tuple(pictures.save_picture(path) for path in draft.reference_images),
        )

    def draft_of(self, request: GenerationRequest) -> Draft:
        """A draft that resolves to this request again, even if its preset is gone or has changed."""
        preset = self.presets.get(request.preset or "")
        is_same = preset is not None and preset.styled(request.prompt) == request.styled_prompt
        references = (self._find(name) for name in request.reference_images)
        return Draft(
            prompt=request.prompt if is_same or request.preset is None else request.styled_prompt,
            image=self._find(request.image),
            model=request.model,
            preset=request.preset if is_same else None,
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
            last_image=self._find(request.last_image),
            control_video=self._find(request.control_video),
            control_mask=self._find(request.control_mask),
            reference_images=tuple(path for path in references if path is not None),
        )

    def _check_lengths(self, draft: Draft, request: GenerationRequest) -> None:
        """Raise ImageError for a control video or mask that is too short."""
        video, mask = draft.control_video, draft.control_mask
        if video is not None:
            self.pictures.check_length(video, "control video", request.fps, request.num_frames)
        if mask is not None and not self._is_picture(mask):
            self.pictures.check_length(mask, "control mask", request.fps, request.num_frames)

    def _save_picture(self, path: Path | None) -> str | None:
        return None if path is None else self.pictures.save_picture(path)

    def _save_mask(self, path: Path | None, fps: int) -> str | None:
        if path is None or self._is_picture(path):
            return self._save_picture(path)
        return self.pictures.save_video(path, fps)

    def _is_picture(self, path: Path) -> bool:
        try:
            self.pictures.measure(path)
        except ImageError:
            return False
        return True

    def _find(self, name: str | None) -> Path | None:
        return None if name is None else self.pictures.find(name)
