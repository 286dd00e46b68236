"""`python -m wan_pipeline`: the command line."""

from __future__ import annotations

import sys

from wan_pipeline.cli import main

sys.exit(main())
