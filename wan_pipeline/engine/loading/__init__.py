"""From weights on the disk to a model that can denoise."""
