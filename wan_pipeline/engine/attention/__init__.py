"""How attention computes: torch's own backends, and SageAttention where it is installed."""
