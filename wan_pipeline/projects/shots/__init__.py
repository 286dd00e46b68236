"""Scenes, shots and takes of projects. No torch, no page."""
