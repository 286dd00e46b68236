"""The device that computes: placement, probing, deterministic mode and the environment that decides bits."""
