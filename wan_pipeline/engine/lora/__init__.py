"""LoRAs in the engine: which adapters a clip has, and their updates beside the weights."""
