"""Clips as files for other programs: more bits, other codecs, image sequences, exact rates."""
