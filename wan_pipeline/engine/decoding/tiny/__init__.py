"""Previews by a small decoder (TAEHV) in a file that people put there."""
