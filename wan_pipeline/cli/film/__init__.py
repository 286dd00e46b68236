"""Commands from a shot list to finals."""
