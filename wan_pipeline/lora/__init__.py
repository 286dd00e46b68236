"""LoRA files: reading, key normalising, applying."""
