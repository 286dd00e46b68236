"""Captions by a vision-language model of transformers that is on this machine: nothing is downloaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from wan_pipeline.engine.device.placement import Placement, telling_shortage
from wan_pipeline.errors import ImageError, UserError
from wan_pipeline.storage.files import whole_file
from wan_pipeline.trainer.dataset.folder import CAPTION_SUFFIX, Item, read_items
from wan_pipeline.trainer.dataset.pixels import look_at

logger = logging.getLogger(__name__)

QUESTION = (
    "Describe this picture in one or two plain sentences: who or what is seen, what it does, where, in which light and "
    "from which angle. Do not interpret."
)
"""What a model that follows instructions is asked; the words are those that prompts for Wan are made of."""
MAX_TOKENS = 160
FPS = 16
"""At which a clip is read; only its first frame counts."""


class Captioner:
    """A loaded model that describes pictures."""

    def __init__(self, name: str, place: Placement) -> None:
        """`name` is a folder, or a repository in the Hugging Face cache.

        Raises UserError if no such model is there, GenerationError if the device has no room for it.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor  # here: it takes a while

        try:
            self._processor: Any = AutoProcessor.from_pretrained(name, local_files_only=True)
            model = AutoModelForImageTextToText.from_pretrained(name, local_files_only=True, dtype=place.dtype)
        except Exception as error:  # the libraries raise a dozen types for what is missing or damaged
            logger.info("No captioner %s: %s", name, error)
            raise UserError(
                f"'{name[:80]}' is no model on this machine that describes pictures; name a folder or a repository in "
                "the Hugging Face cache with such a model, for example after: hf download Qwen/Qwen3-VL-2B-Instruct."
            ) from error
        self._shortage = f"There is too little memory for '{name[:80]}' to describe pictures; choose a smaller model."
        with telling_shortage(self._shortage):
            self._model: Any = model.to(place.device).eval()
        self._place = place

    @torch.inference_mode()
    def describe(self, image: Image.Image) -> str:
        """A caption in one line, by the likeliest words; empty if the model says nothing.

        Raises GenerationError if memory runs out.
        """
        follows = getattr(self._processor, "chat_template", None) is not None
        inputs = self._asked(image) if follows else self._processor(images=image, return_tensors="pt")
        inputs = inputs.to(self._place.device, self._place.dtype)
        with telling_shortage(self._shortage):
            tokens = self._model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        said = tokens[:, inputs["input_ids"].shape[1] :] if follows and not self._is_encoder_decoder else tokens
        text: str = self._processor.batch_decode(said, skip_special_tokens=True)[0]
        return " ".join(text.split())

    def _asked(self, image: Image.Image) -> Any:
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        text = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return self._processor(images=image, text=text, return_tensors="pt")

    @property
    def _is_encoder_decoder(self) -> bool:
        return bool(getattr(self._model.config, "is_encoder_decoder", False))


def caption_dataset(
    folder: Path, captioner: Captioner, between: Callable[[int, int], object] = lambda done, total: None
) -> tuple[int, list[str]]:
    """Write a caption for each image and clip of a dataset that has none; of a clip, its first frame is described.

    `between` is called with the number done and of all. Returns how many were written, and a sentence for each file
    that still has none. Raises DatasetError, StorageError.
    """
    items = [item for item in read_items(folder) if not item.caption]
    written, problems = 0, []
    for done, item in enumerate(items, 1):
        if problem := _caption(item, captioner):
            problems.append(problem)
        else:
            written += 1
        between(done, len(items))
    return written, problems


def _caption(item: Item, captioner: Captioner) -> str:
    """Write one caption. Returns why not, as a sentence."""
    try:
        image = look_at(item, FPS, max_frames=1).image
    except (ImageError, OSError) as error:
        return str(error)
    text = captioner.describe(image)
    if not text:
        return f"The model said nothing of {item.name}; write its caption yourself."
    with whole_file(item.path.with_suffix(CAPTION_SUFFIX)) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return ""
