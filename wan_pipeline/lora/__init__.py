"""LoRA files: their names, the dialects of their keys, and whether they fit a model. No torch."""
