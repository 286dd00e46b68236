"""Trains LoRAs on the engine's models: dataset, recipe, loop, checkpoints, file."""
