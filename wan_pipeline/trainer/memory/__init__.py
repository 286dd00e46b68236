"""Training models larger than the device: blocks streamed both ways, activations computed again, a forecast."""
