"""Larger frames: by small convolutional networks, one of which comes with the studio, or by SeedVR2."""
