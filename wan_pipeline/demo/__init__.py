"""The small model that ships: its scenes, its training, its checkpoint."""
