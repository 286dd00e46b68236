"""An app of a Space on ZeroGPU, as a program: `python -m tests.support.processes.zerogpu ADDRESS`, settings on stdin.

`spaces` is at work as on the Hub: it asks the service at ADDRESS for a GPU, splits a process off and talks to it. Only
what it does to torch is left out. It prints one JSON object: how the clips' jobs ended.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType


def main() -> None:
    os.environ |= {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": sys.argv[1]}
    sys.modules["spaces.zero.torch.patching"] = no_gpu()
    import spaces

    told = json.dumps(make_clip(sys.stdin.read(), spaces.zero.startup))
    sys.stdout.write(f"\n{told}\n")


def no_gpu() -> ModuleType:
    """In place of what `spaces` does to torch, which a build for CPUs does not have: moving tensors to the GPU."""
    module = ModuleType("spaces.zero.torch.patching")
    for name in ("enter_mode", "patch", "unpatch", "init", "move"):
        setattr(module, name, lambda *arguments, **named: None)
    for name in ("pack", "size"):
        setattr(module, name, lambda *arguments: 0)
    module.is_in_bad_fork = lambda: False  # type: ignore[attr-defined]
    return module


def make_clip(options: str, startup: object) -> dict[str, object]:
    from tests.support.studios import QUICK, read_settings, wait_for
    from wan_pipeline.api.space.zerogpu import ZeroGpu
    from wan_pipeline.studio import Studio

    with Studio(read_settings(options), ZeroGpu().supervisor) as studio:
        startup()  # type: ignore[operator] # what `launch` of the page calls first
        studio.start()
        ids = [studio.submit(QUICK) for _ in range(2)]
        wait_for(lambda: not studio.jobs.unfinished(), "the clips")
        jobs = [studio.jobs.existing(job_id) for job_id in ids]
    return {
        "states": [job.state.value for job in jobs],
        "errors": [job.error for job in jobs],
        "frames": [job.frames_sha256 for job in jobs],
        "clips": [Path(job.clip).is_file() if job.clip else False for job in jobs],
    }


if __name__ == "__main__":
    main()
