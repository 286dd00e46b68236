"""The first stages: the autoencoder."""
