"""The clips whose shapes the cases have."""

from __future__ import annotations

from wan_pipeline.planning.geometry import Geometry

SMALL, MIDDLE, LARGE = (Geometry(*size, 81, 1) for size in ((832, 480), (1280, 720), (1920, 1088)))
BROAD = Geometry(1280, 704, 121, 1)
