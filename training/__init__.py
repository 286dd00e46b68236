"""Training of the demo model, from random weights to the checkpoint that ships."""
