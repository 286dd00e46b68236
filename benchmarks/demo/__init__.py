"""What settings change in clips of the demo model."""
