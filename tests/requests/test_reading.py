"""Prompts that are longer than the text encoder reads, and words that look like instructions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import adapters
from tests.support.studios import QUICK, finish
from wan_pipeline.clips.receipt import receipt_beside
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.registry import MODELS
from wan_pipeline.models.vocabulary.tokens import TokenCounter
from wan_pipeline.requests.prompts.reading import fitting
from wan_pipeline.requests.request import Draft
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

CASES = Path(__file__).parent / "cases"
LONG = Draft(prompt=(CASES / "a.txt").read_text(encoding="utf-8").strip(), preset="noir")
LIMIT = MODELS["demo"].max_sequence_length


@pytest.mark.parametrize("prompt", ["a red ball", "", "Café &amp; 红 球  (x:1)\n\tb", "word " * 100, "🎈ﷺ"])
def test_16_tokens_are_counted_as_the_text_encoder_counts(prompt: str) -> None:
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean
    from transformers import AutoTokenizer

    model = ModelLibrary(Settings()).find("demo")
    count = TokenCounter().of(model)
    assert count is not None
    theirs = AutoTokenizer.from_pretrained(model.folder / "tokenizer")(prompt_clean(prompt)).input_ids
    assert count(prompt) == len(theirs)


def test_16_the_words_are_cut_and_the_style_is_kept(studio: Studio) -> None:
    request = studio.requests.resolve(LONG)
    count = studio.requests.tokens.of(studio.models.find("demo"))
    assert count is not None
    style = studio.presets["noir"].prompt.partition("{prompt}")[2]
    read = request.styled_prompt.removesuffix(style)
    assert request.styled_prompt == read + style and request.prompt.startswith(read)
    assert count(request.styled_prompt) <= LIMIT < count(request.prompt[: len(read) + 10] + style)
    (note,) = request.notes
    rest = request.prompt[len(read) :].strip()
    assert note == (
        f"The prompt has {count(LONG.prompt + style):,} tokens with its style and the text encoder reads 64: "
        f"it is not read from '{rest[:60]}…' on; shorten it."
    )
    assert studio.requests.resolve(studio.requests.draft_of(request)) == replace(request)


def test_16_a_prompt_that_fits_stays_as_it_is(studio: Studio) -> None:
    for preset in (None, "noir"):
        request = studio.requests.resolve(Draft(prompt=" a  red\nball ", preset=preset, seed=1))
        style = studio.presets[preset].styled if preset else str
        assert (request.styled_prompt, request.notes) == (style("a  red\nball"), ())


def test_16_two_prompts_that_differ_after_the_limit_are_told(studio: Studio, settings: Settings) -> None:
    """They still give the same frames; job, receipt and warning say why."""
    prompts = [(CASES / name).read_text(encoding="utf-8").strip() for name in ("a.txt", "b.txt")]
    jobs = finish(studio, settings, *(replace(QUICK, prompt=prompt) for prompt in prompts))
    assert jobs[0].frames_sha256 == jobs[1].frames_sha256 is not None
    for job in jobs:
        assert "the text encoder reads 64: it is not read from" in job.warnings[0]
        receipt = receipt_beside(job.clip)
        assert receipt is not None and receipt.request.notes == job.request.notes == job.warnings[:1]


def test_16_a_long_negative_prompt_is_told(studio: Studio) -> None:
    draft = Draft(prompt="a", negative_prompt="dull " * 70, guidance_scale=4.0)
    assert studio.requests.check(draft).notes == (
        "The negative prompt has 71 tokens and the text encoder reads 64: its end is not read; shorten it.",
    )
    assert studio.requests.check(replace(draft, guidance_scale=1.0)).notes == ()


def test_16_scripts_without_spaces_are_cut_between_letters() -> None:
    def count(text: str) -> int:
        return len(text) + 1

    assert fitting("红" * 50, lambda prompt: f"{prompt}, 黑", count, 20) == "红" * 16
    assert fitting("one two three", str, count, 9) == "one two"
    assert fitting("one two", lambda prompt: prompt + "x" * 30, count, 20) == "one two"  # the style alone is too long


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a <lora:musubi:1>", "'<lora:musubi:1>' is read as words, and chooses no LoRA here; take it out and choose"),
        ("a <lora:musubi:1>", "choose the LoRA 'musubi' instead: --lora musubi=1, or on the page under LoRAs."),
        ("a <LORA:Musu>", "choose the LoRA 'musubi' instead: --lora musubi,"),
        ("a <lora:ghost:0.8>", "choose a LoRA by --lora or on the page; the folder holds no 'ghost'."),
        ("a (slow:1.3) b", "'(slow:1.3)' is read as words: weights have no effect here; write the words without them."),
        ("(a ball:0.5) (b:2)", "'(a ball:0.5)', '(b:2)' are read as words"),
    ],
)
def test_16_tags_and_weights_are_said_to_be_words(prompt: str, says: str, studio: Studio, settings: Settings) -> None:
    adapters.write(settings.loras / "musubi.safetensors")
    assert says in " ".join(studio.requests.check(Draft(prompt=prompt)).notes)
    assert studio.requests.check(Draft(prompt=prompt)).styled_prompt == prompt


@pytest.mark.parametrize("prompt", ["at 16:9 (ratio 16:9)", "a sign (room: 12)", "x < y and lora: 1", "(a) (b:c)"])
def test_16_other_words_are_left_alone(prompt: str, studio: Studio) -> None:
    assert studio.requests.check(Draft(prompt=prompt)).notes == ()


def test_16_rows_of_a_list_are_told_too(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(f"prompt\na\n{LONG.prompt}\n")
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        assert len(content.rows) == 2
        assert content.warnings[0].startswith("Row 3: The prompt has")
