"""Cuts: clips of a project in order, for an editor's program or as one video."""
