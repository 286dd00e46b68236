"""Sound under pictures: tracks mixed to a length, their loudness, and clips that have them."""
