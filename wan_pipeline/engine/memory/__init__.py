"""Models larger than the device's memory: quantized, streamed and offloaded weights, and chunked activations."""
