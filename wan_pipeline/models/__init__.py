"""Model facts and model files."""
