"""From drafts to requests and back, with what a studio has: models, presets, speeds, LoRAs and input files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from wan_pipeline.errors import UserError
from wan_pipeline.lora.check import match_adapters
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.lora.reading.words import trigger_words
from wan_pipeline.models import registry
from wan_pipeline.models.library import InstalledModel, ModelLibrary
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.models.vocabulary.tokens import TokenCounter
from wan_pipeline.models.weights import read_header
from wan_pipeline.requests.inputs.draft_files import DraftFiles
from wan_pipeline.requests.inputs.pictures import Pictures
from wan_pipeline.requests.layers import NO_LAYERS, Layers, Merged, chosen_by, style_of
from wan_pipeline.requests.once import PicturesOnce, once_each
from wan_pipeline.requests.presets import Preset, find_preset, find_quality
from wan_pipeline.requests.prompts.casting import Casting, UseLora, cast
from wan_pipeline.requests.prompts.reading import read_prompt
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.resolve import PENDING, merge_settings, resolve
from wan_pipeline.requests.sampling.speeds import Speed, find_speed
from wan_pipeline.requests.sampling.step_cache import CacheKind
from wan_pipeline.storage.live_folder import LiveFolder
from wan_pipeline.wording import plural

T = TypeVar("T")


def _any_lora(lora: LoraChoice) -> str:
    """Takes every LoRA for one that the model can use, of which no trigger word is known."""
    return ""


class RequestResolver:
    """Turns drafts into requests, in three steps: `resolve_settings`, `check`, `resolve`; each does all before it."""

    def __init__(
        self,
        models: ModelLibrary,
        presets: Mapping[str, Preset],
        speeds: Mapping[str, Speed],
        loras: LoraLibrary,
        pictures: Pictures,
        tokens: TokenCounter | None = None,
        layers: Layers = NO_LAYERS,
    ) -> None:
        """`layers` are those of the project that the drafts belong to."""
        self.models = models
        self.presets = presets
        self.speeds = speeds
        self.loras = loras
        self.pictures = pictures
        self.files = DraftFiles(pictures)
        self.tokens = tokens or TokenCounter()
        self.layers = layers

    def resolve(self, draft: Draft) -> GenerationRequest:
        """The complete request, its files saved. Raises every UserError that can be known before weights are loaded."""
        return self.files.saved(self.check(draft), draft)

    def check(self, draft: Draft) -> GenerationRequest:
        """As `resolve`, but no file is saved: their names are PENDING."""
        return self.checker()(draft)

    def batch(self) -> RequestResolver:
        """For many drafts in a row: each picture and video is read and saved once, presets and speeds stay as now."""
        pictures = PicturesOnce(self.pictures)
        presets, speeds = _now(self.presets), _now(self.speeds)
        return RequestResolver(self.models, presets, speeds, self.loras, pictures, self.tokens, self.layers)

    def within(self, layers: Layers) -> RequestResolver:
        """For drafts of a project."""
        return RequestResolver(self.models, self.presets, self.speeds, self.loras, self.pictures, self.tokens, layers)

    def merged(self, draft: Draft) -> Merged:
        """The layered settings of a draft, and where each comes from. Raises UserError."""
        chosen = chosen_by(draft, self.layers)
        spec, style = self.models.spec(chosen.model or registry.DEFAULT_MODEL), self._style(chosen)
        preset, quality, speed = style
        casting = self._cast(draft, spec)
        return merge_settings(casting.draft, spec, preset, self._start_size(casting), speed, quality, self.layers)

    def checker(self) -> Callable[[Draft], GenerationRequest]:
        """`check` for many drafts in a row: each model is looked up once, and each LoRA matched with it once."""
        find = once_each(self.models.find)

        @once_each
        def match(lora: str, model_id: str) -> tuple[str, ...]:
            """Raises LoraError; returns notes."""
            library = self.loras
            adapters = match_adapters(library.find(lora), find(model_id), values=library.values, said=library.expert_of)
            return tuple(adapter.note for adapter in adapters[:1] if adapter.is_by_default)

        def check(draft: Draft) -> GenerationRequest:
            model = find(self.model_of(draft))
            use = partial(self._use_lora, lambda name: match(name, model.spec.id))
            request = self._read_prompt(self._resolve_settings(draft, model.spec, use), model)
            notes = [note for lora in request.loras for note in match(lora.name, model.spec.id)]
            self.files.check_lengths(draft, request)
            return replace(request, notes=(*request.notes, *dict.fromkeys(notes)))

        return check

    def notes(self, draft: Draft) -> tuple[str, ...]:
        """What of the draft's prompt will not be read as it stands; nothing for a draft with a fault."""
        try:
            model = self.models.find(self.model_of(draft))
            return self._read_prompt(self._resolve_settings(draft, model.spec), model).notes
        except UserError:
            return ()

    def worded(self, draft: Draft) -> str:
        """The draft's prompt with the words of the characters and places that it names. Raises UserError."""
        return self._cast(draft, self.models.spec(self.model_of(draft))).draft.prompt

    def resolve_settings(self, draft: Draft) -> GenerationRequest:
        """As `check`, but the model need not be installed, and LoRAs and videos are not opened."""
        return self._resolve_settings(draft, self.models.spec(self.model_of(draft)))

    def model_of(self, draft: Draft) -> str:
        """The id of the model that makes the draft's clip."""
        return chosen_by(draft, self.layers).model or registry.DEFAULT_MODEL

    def _style(self, chosen: Draft) -> tuple[Preset | None, Preset | None, Speed | None]:
        """Preset, quality and speed of a draft that has all choices."""
        preset = find_preset(self.presets, chosen.preset) if chosen.preset else None
        quality = find_quality(self.presets, chosen.quality) if chosen.quality else None
        return preset, quality, find_speed(self.speeds, chosen.speed) if chosen.speed else None

    def _resolve_settings(self, draft: Draft, spec: ModelSpec, use_lora: UseLora = _any_lora) -> GenerationRequest:
        """The request, with what its prompt's characters cannot bring in among its notes."""
        casting = self._cast(draft, spec, use_lora)
        draft = casting.draft
        preset, quality, speed = self._style(chosen_by(draft, self.layers))
        size = self._start_size(casting)
        self.files.check_pictures(draft)
        image = casting.image or (PENDING if draft.image else None)
        request = resolve(draft, spec, preset, image, size, speed, quality, self.layers)
        if speed:
            speed.check_files(self.loras)
        references = (*request.reference_images, *casting.references)
        return replace(request, reference_images=references, notes=casting.notes)

    # Characters and places

    def _cast(self, draft: Draft, spec: ModelSpec, use_lora: UseLora = _any_lora) -> Casting:
        """The draft with what its prompt's characters bring in; pictures that are gone from the workspace do not."""
        loras = chosen_by(draft, self.layers).loras or ()
        casting = cast(draft, self.layers.characters, spec, loras, use_lora)
        wanted = (*([casting.image] if casting.image else []), *casting.references)
        gone = [name for name in wanted if not self.files.is_saved(name)]
        if not gone:
            return casting
        note = (
            f"{plural(len(gone), 'picture')} of the prompt's characters left out: gone from the workspace; add again."
        )
        image = None if casting.image in gone else casting.image
        references = tuple(name for name in casting.references if name not in gone)
        return replace(casting, image=image, references=references, notes=(*casting.notes, note))

    def _use_lora(self, match: Callable[[str], object], lora: LoraChoice) -> str:
        """The trigger word of a character's LoRA. Raises LoraError for one that `match` does not let the model use."""
        match(lora.name)
        words = trigger_words(read_header(self.loras.find(lora.name).paths[0]).metadata)
        return words[0] if words else ""

    def _start_size(self, casting: Casting) -> tuple[int, int] | None:
        """Width and height of the picture that a clip starts from."""
        path = self.files.find(casting.image) or casting.draft.image
        return self.files.measure("image", path) if path else None

    def draft_of(self, request: GenerationRequest) -> Draft:
        """A draft that resolves to this request again, even if its preset is gone or has changed."""
        preset = self.presets.get(request.preset or "")
        is_same = preset is not None and _is_styled(request, preset)
        is_typed = is_same or request.preset is None
        words = (request.prompt_before, request.prompt_after) if is_typed else ("", "")
        references = (self.files.find(name) for name in request.reference_images)
        return Draft(
            prompt=request.prompt if is_typed else request.styled_prompt,
            image=self.files.find(request.image),
            image_fit=request.image_fit.value if request.image else None,
            image_crop=request.image_crop if request.image else None,
            model=request.model,
            preset=request.preset if is_same else None,
            prompt_before=words[0] or None,
            prompt_after=words[1] or None,
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
            loras=request.loras,
            guidance_scale_2=request.guidance_scale_2,
            quantization=request.quantization,
            first_block_cache=request.first_block_cache or None,
            cache=None if request.cache is CacheKind.OFF else request.cache.value,
            cache_amount=None if request.cache is CacheKind.OFF else request.cache_amount,
            guidance_interval=request.guidance_interval,
            early_end=request.early_end or None,
            noise_size=request.noise_size or None,
            last_image=self.files.find(request.last_image),
            control_video=self.files.find(request.control_video),
            control_mask=self.files.find(request.control_mask),
            reference_images=tuple(path for path in references if path is not None),
        )

    def _read_prompt(self, request: GenerationRequest, model: InstalledModel) -> GenerationRequest:
        preset = self.presets.get(request.preset or "")
        limit, loras = model.spec.max_sequence_length, self.loras.names() if "<" in request.prompt else ()
        read = read_prompt(request, preset, self.tokens.of(model), limit, loras)
        return replace(read, notes=(*request.notes, *read.notes))


def _is_styled(request: GenerationRequest, preset: Preset) -> bool:
    """Whether preset and words make this request's styled prompt, of the prompt or of the part that is read."""
    before, after = style_of(preset, request.prompt_before, request.prompt_after)("\0").split("\0")
    styled = request.styled_prompt
    if not (styled.startswith(before) and styled.endswith(after) and len(styled) >= len(before) + len(after)):
        return False
    read = styled[len(before) : len(styled) - len(after)]
    return read == request.prompt or (bool(read) and request.prompt.startswith(read))


def _now(folder: Mapping[str, T]) -> Mapping[str, T]:
    return folder.current() if isinstance(folder, LiveFolder) else folder
