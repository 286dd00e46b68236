"""Many drafts from one: grids over prompts, styles, seeds and other settings."""
