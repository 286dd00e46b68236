"""Starts the studio's other processes, apart from the app that starts them.

What a process gets of this one's environment:

- every process: all variables, such as those for CUDA, the Hugging Face cache and proxies, without secrets;
- a process that talks to the Hugging Face Hub (a download): the Hub's tokens as well.

A secret is a variable with a word such as TOKEN, KEY or PASSWORD in its name. Workers and verifiers use local files
alone and need none. On a Space a secret may have any name, so a process gets only the variables that are known to be
needed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from wan_pipeline.settings import DEVICE_VARIABLE, REPOSITORY, Settings, is_on_space

MAX_LOG_BYTES = 4 * 2**20
SECRET = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?(_|$)", re.IGNORECASE)
NEEDED_ON_SPACE = re.compile(
    r"(PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|TEMP|TMP|LD_LIBRARY_PATH|(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|VIRTUAL_ENV"
    r"|PYTHON.*|(CUDA|NVIDIA|NCCL|PYTORCH|TORCH|OMP|GOMP|MKL|OPENBLAS|TOKENIZERS|XDG)_.*|CPU_CORES|MEMORY"
    r"|HF_(HOME|ENDPOINT|HUB_.*)|TRANSFORMERS_.*|WAN_STUDIO_.*|SPACE_ID)",
    re.IGNORECASE,
)
VISIBLE_DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
"""Of NVIDIA, AMD and Intel."""
HUB = re.compile(r"HF_|HUGGING_?FACE_", re.IGNORECASE)


class RunningWorker(Protocol):
    """What the supervisor needs of a process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


Launch = Callable[[Settings], RunningWorker]


def launch_worker(settings: Settings) -> RunningWorker:
    """Start a worker of the settings' slot, which writes to its log. Raises OSError."""
    return launch("wan_pipeline.jobs.worker", settings, worker_log(settings))


def launch(
    module: str, settings: Settings, log: Path, *arguments: str, uses_hub: bool = False
) -> subprocess.Popen[bytes]:
    """Run a module that reads its settings by `settings_parser`; its output is appended to `log`. Raises OSError."""
    command = [sys.executable, "-m", module, *options_of(settings), *arguments]
    with _open_log(log) as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(uses_hub=uses_hub) | visible_devices(settings),
            **_detached(),
        )


def environment(*, uses_hub: bool = False) -> dict[str, str]:
    """The variables for a process, which finds this package wherever the app was started from."""
    kept = {name: value for name, value in os.environ.items() if not SECRET.search(name)}
    if is_on_space():
        kept = {name: value for name, value in kept.items() if NEEDED_ON_SPACE.fullmatch(name)}
    if uses_hub:
        kept |= {name: value for name, value in os.environ.items() if HUB.match(name)}
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUTF8": "1"}


def visible_devices(settings: Settings) -> dict[str, str]:
    """The variables that show a process the GPUs of the settings, its slot's first. Nothing if they name none.

    CUDA then counts GPUs as `nvidia-smi` does, by their place in the machine, and not the fastest first.
    """
    numbers = settings.device_numbers
    order = ",".join(numbers[settings.slot :] + numbers[: settings.slot])
    return {**dict.fromkeys(VISIBLE_DEVICES, order), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if numbers else {}


def missing_device(settings: Settings) -> str:
    """Why the worker of the settings' slot does not start on the CPU instead."""
    return (
        f"GPU {settings.device_numbers[settings.slot]} of --devices {settings.devices} is not one that torch can use "
        f"here; leave it out, or set {DEVICE_VARIABLE} to cpu for workers that compute on the processor."
    )


def settings_parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser of what `options_of` gives; `settings_of` turns the outcome into settings."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    for name, default in vars(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=_reader(default), default=default)
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    return Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})


def options_of(settings: Settings) -> list[str]:
    """Command line options that hold the settings."""
    return [f"--{field.name.replace('_', '-')}={_text(getattr(settings, field.name))}" for field in fields(Settings)]


def worker_log(settings: Settings) -> Path:
    return settings.logs / (f"worker-{settings.slot}.log" if settings.slot else "worker.log")


def _text(value: object) -> str:
    """A setting on a command line; folders as JSON, for a path may hold any separator."""
    return json.dumps([str(path) for path in value]) if isinstance(value, tuple) else str(value)


def _reader(default: object) -> Callable[[str], Any]:
    """What turns a setting's text back into its value."""
    if isinstance(default, tuple):
        return lambda text: tuple(Path(path) for path in json.loads(text))
    return (lambda text: text == str(True)) if isinstance(default, bool) else type(default)


def _detached() -> dict[str, Any]:
    """Keep Ctrl+C and the closing of the app's terminal from ending the process."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        with suppress(PermissionError):  # on Windows, while another process writes to it: then it keeps growing
            path.replace(path.with_suffix(".old.log"))
    return path.open("ab")
