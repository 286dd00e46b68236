"""From latents to frames: the clip, its master with more bits, and previews on the way."""
