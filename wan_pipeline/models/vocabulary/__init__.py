"""The words that a model knows."""
