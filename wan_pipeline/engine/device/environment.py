"""The environment that decides a clip's bits beside its request: versions, hardware, torch's settings."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.settings import REPOSITORY

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "optimum-quanto",
    "safetensors",
    "tokenizers",
    "numpy",
    "moviepy",
)
ATTENTION_BACKENDS = {"cuda": ("cudnn", "flash", "mem_efficient", "math")}
"""Backends of torch's scaled_dot_product_attention by device; it takes the fastest one that is enabled and able."""
OTHER_BACKENDS = ("flash", "math")


def fixed_facts(placement: Placement) -> dict[str, str]:
    """What does not change while the process lives. Takes a moment, for it runs git and the driver's tool."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: _version(name) for name in LIBRARIES},
        **_hardware(placement.device),
        "dtype": str(placement.dtype).removeprefix("torch."),
        **_named("app_commit", _commit(REPOSITORY)),
    }


def torch_settings(device: torch.device) -> dict[str, str]:
    """How torch is set to compute on the device at this moment."""
    backends = ATTENTION_BACKENDS.get(device.type, OTHER_BACKENDS)
    enabled = [name for name in backends if getattr(torch.backends.cuda, f"{name}_sdp_enabled")()]
    tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    return {
        "attention": f"sdpa ({', '.join(enabled)})",
        "quantization": "none",
        "threads": str(torch.get_num_threads()),
        "tf32": "yes" if device.type == "cuda" and tf32 else "no",
        "strict": "yes" if torch.are_deterministic_algorithms_enabled() else "no",
    }


def _hardware(device: torch.device) -> dict[str, str]:
    if device.type == "cuda":
        return {
            "device": device.type,
            "device_name": torch.cuda.get_device_name(device),
            "cuda": str(torch.version.cuda or torch.version.hip),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
            **_named("driver", _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")),
        }
    instructions = torch.backends.cpu.get_cpu_capability()
    return {"device": device.type, "device_name": _processor(), "instructions": instructions}


def _processor() -> str:
    """The processor's model name, where the system gives one."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _commit(repository: Path) -> str | None:
    """The commit of the running checkout, with -dirty if files differ from it; None outside a checkout."""
    if not (repository / ".git").exists():
        return None
    read_only = ("--no-optional-locks", "-C", str(repository))
    return _first_line("git", *read_only, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _first_line(program: str, *arguments: str) -> str | None:
    """The first line of a program's output; None if it is missing, fails or prints nothing."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        result = subprocess.run(
            [path, *arguments], capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = result.stdout.split("\n")
    return lines[0].strip() or None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _named(name: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {name: value}
