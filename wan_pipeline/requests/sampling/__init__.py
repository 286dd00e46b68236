"""How a clip is sampled: scheduler, step caches, the interval of guidance, and speeds, which set them at once."""
