"""Models that make sound."""
