"""Projects as ZIP files, written and taken in."""
