"""The bundled demo model: its checkpoint, vocabulary and scenes. `training/` at the top level trains it."""
