"""Weights larger than the device: quantized, streamed block by block, offloaded; activations computed in chunks."""
