"""A tiny Qwen writes prompts: by the seed, with the names that it must keep, and nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tests.support.faults.shortage import no_room_for
from wan_pipeline.engine.device.placement import CPU, Placement
from wan_pipeline.engine.prompts.writer import PromptWriter
from wan_pipeline.errors import GenerationError, UserError
from wan_pipeline.models.spec import Mode

WORDS = ["<end>", "<unknown>", "a", "red", "ball", "rolls", "slowly", "down", "green", "hills", "light", "camera"]
TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"
PLACE = Placement(CPU, torch.float32)


@pytest.fixture(scope="module")
def writer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unknown>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def test_it_writes_by_the_seed_and_keeps_names(writer_folder: Path) -> None:
    writer = PromptWriter(str(writer_folder), PLACE)
    made = [writer.write("@anna rolls", Mode.TEXT_TO_VIDEO, seed) for seed in range(6)]
    assert len(set(made)) > 3 and made[5] == writer.write("@anna rolls", Mode.TEXT_TO_VIDEO, 5)
    assert all(text == "@anna rolls" or text.startswith("@anna: ") for text in made)


def test_a_shortage_of_memory_is_told(writer_folder: Path) -> None:
    writer = PromptWriter(str(writer_folder), PLACE)
    with no_room_for(torch.nn.Linear), pytest.raises(GenerationError, match="choose a smaller instruction model"):
        writer.write("a ball", Mode.TEXT_TO_VIDEO, 1)


def test_what_is_no_instruction_model_is_told(tmp_path: Path, writer_folder: Path) -> None:
    with pytest.raises(UserError, match="hf download"):
        PromptWriter(str(tmp_path), PLACE)
