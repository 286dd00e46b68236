"""What each way into the program loads: seconds of imports are paid where they are needed, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.soak import soaked
from wan_pipeline.settings import REPOSITORY

LEARNING = {"torch", "diffusers", "transformers", "accelerate", "optimum", "peft", "safetensors"}
HEAVY = LEARNING | {"moviepy", "gradio"}
ANY_LIBRARY = HEAVY | {"numpy", "PIL", "pydantic", "jinja2", "psutil", "filelock", "huggingface_hub"}
LIGHT_ROOMS = ("storage", "models", "lora", "requests", "planning", "clips", "cli")

PUBLIC_NAMES = "from wan_pipeline import Draft, GenerationRequest, LoraChoice, ModelSpec, Settings, Studio, generate"
HELP = "from wan_pipeline.cli import main\ntry: main(['generate', '--help'])\nexcept SystemExit: pass"
PAGE = (
    "from pathlib import Path\nfrom wan_pipeline import Settings, Studio\nfrom wan_pipeline.ui.page import build_ui\n"
    "build_ui(Studio(Settings(workspace=Path('workspace'))))"
)
REFUSED = """
from wan_pipeline.cli import main
for wrong in ("width=161", "image=gone.png", "lora=ghost", "preset=ghost", "model=none", "output=clip.avi"):
    assert main(["generate", "--workspace=workspace", "--prompt=a red ball", f"--{wrong}"]) == 2
"""
EVERY_MODULE = f"""
import importlib, pkgutil, wan_pipeline
for room in {LIGHT_ROOMS}:
    package = importlib.import_module(f"wan_pipeline.{{room}}")
    for module in pkgutil.walk_packages(package.__path__, f"{{package.__name__}}."):
        importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (f"import wan_pipeline.settings, wan_pipeline.errors, wan_pipeline.wording, app\n{HELP}", ANY_LIBRARY),
        (f"{PUBLIC_NAMES}\n{REFUSED}\n{EVERY_MODULE}", HEAVY),
        soaked(PAGE, HEAVY - {"gradio"}),
    ],
    ids=["package, help and app", "public names, user errors and every module below the engine", "page"],
)
def test_imports_no_more_than_it_needs(code: str, unwanted: set[str], tmp_path: Path) -> None:
    report = (
        f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n{code}\nimport json\nprint(json.dumps([*sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", report], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert unwanted.isdisjoint(json.loads(result.stdout.splitlines()[-1]))
