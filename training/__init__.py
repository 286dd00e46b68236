"""Train the bundled demo model from random weights. Nothing in the app imports this package."""
