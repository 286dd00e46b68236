"""Makes prompts richer: by a grammar where the model knows few words, else by an instruction model on this machine.

The instruction model runs in a process of its own, which reads the prompt from its input and answers by JSON:
`python -m wan_pipeline.jobs.background.enhancer --workspace DIR --enhancer NAME MODE SEED`.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace

from filelock import Timeout

from wan_pipeline.errors import GenerationError, StudioError, UserError
from wan_pipeline.jobs.launch import environment, options_of, settings_of, settings_parser, visible_devices
from wan_pipeline.jobs.log import FORMAT
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.models.vocabulary.words import find_vocabulary
from wan_pipeline.requests.limits import MAX_PROMPT_CHARACTERS
from wan_pipeline.requests.prompts.grammar import enrich
from wan_pipeline.settings import ENHANCER_VARIABLE, Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

MODULE = "wan_pipeline.jobs.background.enhancer"
PATIENCE_SECONDS = 600
GRAMMAR = "grammar"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Enhanced:
    """A prompt that was made richer."""

    prompt: str
    by: str
    """The name of the instruction model, or "grammar"."""


@dataclass(frozen=True)
class _Answer:
    prompt: str = ""
    error: str = ""


class Enhancer:
    """Of one studio."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def enhance(self, prompt: str, spec: ModelSpec, mode: Mode, seed: int, name: str = "") -> Enhanced:
        """The prompt made richer for a model; the same for the same prompt and seed.

        `name` is an instruction model, by default that of the settings. Waits until it has written. Raises UserError
        if there is none, GenerationError if it ends without an answer.
        """
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise UserError(f"The prompt has {len(prompt):,} characters; use at most {MAX_PROMPT_CHARACTERS:,}.")
        if vocabulary := find_vocabulary(spec.vocabulary):
            return Enhanced(enrich(prompt, vocabulary, seed), GRAMMAR)
        if not prompt.strip():
            raise UserError("The prompt is empty; write a few words of what should be seen first.")
        if not (name := name or self._settings.enhancer):
            raise UserError(
                f"{spec.title} needs an instruction model to write its prompts; name one in the Hugging Face cache by "
                f"{ENHANCER_VARIABLE}=Qwen/Qwen2.5-3B-Instruct, or by --enhancer."
            )
        answer = self._asked(prompt, mode, seed, replace(self._settings, enhancer=name))
        if answer.error:
            raise UserError(answer.error)
        return Enhanced(answer.prompt[:MAX_PROMPT_CHARACTERS], name)

    def _asked(self, prompt: str, mode: Mode, seed: int, settings: Settings) -> _Answer:
        log = settings.logs / "enhancer.log"
        command = [sys.executable, "-m", MODULE, *options_of(settings), mode.value, str(seed)]
        try:
            with log.open("ab") as errors:
                done = subprocess.run(
                    command,
                    input=prompt.encode("utf-8", "replace"),
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment() | visible_devices(settings) | {"HF_HUB_OFFLINE": "1"},
                    timeout=PATIENCE_SECONDS,
                    check=False,
                )
            last = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
            return parse(_Answer, parse_json(last))
        except (subprocess.TimeoutExpired, OSError, OutsideDataError) as error:
            raise GenerationError(f"The instruction model gave no prompt; the reason may be in {log}.") from error


def main(arguments: list[str] | None = None) -> None:
    """Write one prompt."""
    parser = settings_parser(MODULE, "Makes a prompt richer.")
    parser.add_argument("mode", type=Mode)
    parser.add_argument("seed", type=int)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    prompt = sys.stdin.buffer.read().decode("utf-8")
    try:
        answer = {"prompt": _written(settings_of(options), prompt, options.mode, options.seed)}
    except StudioError as error:
        answer = {"error": str(error)}
    sys.stdout.write(f"{json.dumps(answer)}\n")


def _written(settings: Settings, prompt: str, mode: Mode, seed: int) -> str:
    from wan_pipeline.engine.device.placement import choose_placement  # here: torch takes seconds to import
    from wan_pipeline.engine.prompts.writer import PromptWriter

    with ExitStack() as held:
        device = device_now(settings, held)
        return PromptWriter(settings.enhancer, choose_placement(device)).write(prompt, mode, seed)


def device_now(settings: Settings, held: ExitStack) -> str:
    """The device to write on, held by the stack; the CPU while a clip is made, whose memory is not shared."""
    try:
        held.enter_context(WorkspaceLocks(settings.workspace).device().acquire(timeout=0))
    except Timeout:
        logger.info("The device is in use; the prompt is written on the CPU.")
        return "cpu"
    return settings.device


if __name__ == "__main__":
    main()
