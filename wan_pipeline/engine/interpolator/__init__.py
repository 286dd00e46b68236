"""Frames in between two others, by a network of the RIFE kind that people bring as a file."""
