"""One workspace: its rooms wired together, and what takes more than one of them."""

from wan_pipeline.studio.studio import LOOKING_ON, Studio, Supervise

__all__ = ["LOOKING_ON", "Studio", "Supervise"]
