"""`python -m wan_pipeline.jobs.worker`: work a queue off."""

from __future__ import annotations

from wan_pipeline.jobs.worker.worker import main

main()
