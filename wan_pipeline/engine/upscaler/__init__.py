"""Larger frames by a small convolutional network that comes with the studio."""
