"""From a request to frames: text encoding, sampling, decoding, preview."""
