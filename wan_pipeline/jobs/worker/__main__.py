"""`python -m wan_pipeline.jobs.worker`: process a queue."""

from __future__ import annotations

from wan_pipeline.jobs.worker.process import main

main()
