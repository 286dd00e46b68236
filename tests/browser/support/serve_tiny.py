"""The real app with the tiny model in place of the demo's: `serve_tiny.py PORT WORKSPACE CHECKPOINT LORAS MODELS`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from wan_pipeline.api.serve import serve
from wan_pipeline.settings import Settings

if __name__ == "__main__":  # the worker process imports this file again
    port, workspace, checkpoint, loras, models = sys.argv[1:]
    settings = Settings(
        workspace=Path(workspace), demo_checkpoint=Path(checkpoint), loras=Path(loras), models=Path(models)
    )
    serve(settings, "127.0.0.1", int(port), print)
