"""Cuts as timelines of editors' programs: written, read back, and compared."""
