"""A richer prompt by an instruction model of transformers that is on this machine: nothing is downloaded."""

from __future__ import annotations

import logging
import re
from typing import Any

import torch

from wan_pipeline.engine.device.placement import Placement, telling_shortage
from wan_pipeline.errors import UserError
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.prompts.characters import MENTION

logger = logging.getLogger(__name__)

TASK = {
    Mode.TEXT_TO_VIDEO: (
        "You write prompts for a text-to-video model. Rewrite the user's prompt as one paragraph of 60 to 100 words: "
        "who or what is seen and what they look like, what they do, the place, the light, the framing and the movement "
        "of the camera, and the visual style if the user names one."
    ),
    Mode.IMAGE_TO_VIDEO: (
        "You write prompts for an image-to-video model, which is given the first frame. Rewrite the user's prompt as "
        "one paragraph of 40 to 80 words: what moves and how, in which order, and how the camera moves. Do not "
        "describe again what the picture shows."
    ),
}
"""The order of things is that of the prompt guides of Wan's authors, whose models were trained on such captions."""
RULES = (
    "Keep everything the user says, and add nothing that contradicts it. Write in the language of the user's prompt. "
    "Leave words that begin with @ exactly as they are. Answer with the prompt alone."
)
MAX_TOKENS = 400
TEMPERATURE, TOP_P = 0.7, 0.9
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


class PromptWriter:
    """A loaded instruction model."""

    def __init__(self, name: str, place: Placement) -> None:
        """`name` is a folder, or a repository in the Hugging Face cache.

        Raises UserError if no such model is there, GenerationError if the device has no room for it.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer  # here: it takes a while

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                name, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="auto"
            )
        except Exception as error:  # the libraries raise a dozen types for what is missing or damaged
            logger.info("No prompt writer %s: %s", name, error)
            raise UserError(_NONE.format(name=name[:80])) from error
        if getattr(self._tokenizer, "chat_template", None) is None:
            raise UserError(_NONE.format(name=name[:80]))
        self._shortage = _SHORTAGE.format(name=name[:80])
        with telling_shortage(self._shortage):
            self._model: Any = model.to(place.device).eval()
        self._device = place.device

    @torch.inference_mode()
    def write(self, prompt: str, mode: Mode, seed: int) -> str:
        """The richer prompt in one line; the same for the same prompt and seed on one machine.

        The prompt as it was, if the model says nothing. Names such as `@anna` that it leaves out are put before it.
        Raises GenerationError if memory runs out.
        """
        messages = [{"role": "system", "content": f"{TASK[mode]} {RULES}"}, {"role": "user", "content": prompt}]
        inputs = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True, enable_thinking=False
        ).to(self._device)
        torch.manual_seed(seed % 2**32)
        with telling_shortage(self._shortage):
            tokens = self._model.generate(
                **inputs, max_new_tokens=MAX_TOKENS, do_sample=True, temperature=TEMPERATURE, top_p=TOP_P
            )
        said: str = self._tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        text = " ".join(_THOUGHT.sub(" ", said).split()).strip('"')
        return _with_names(prompt, text) if text else prompt


_NONE = (
    "'{name}' is no model on this machine that follows instructions; name a folder or a repository in the Hugging Face "
    "cache with such a model, for example after: hf download Qwen/Qwen2.5-3B-Instruct."
)
_SHORTAGE = "There is too little memory for '{name}' to write; choose a smaller instruction model."


def _with_names(prompt: str, text: str) -> str:
    lost = dict.fromkeys(found[0] for found in MENTION.finditer(prompt) if found[0] not in text)
    return f"{', '.join(lost)}: {text}" if lost else text
