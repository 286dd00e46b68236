"""Drafts, presets and lists of clips become validated requests, and requests drafts again. No torch."""
