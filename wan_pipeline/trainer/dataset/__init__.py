"""Folders of images and short clips with captions. No torch."""
