"""Moved to `ui.common.folder`; this goes when the rooms have."""

from wan_pipeline.ui.common.folder import is_at_this_computer, open_folder

__all__ = ["is_at_this_computer", "open_folder"]
