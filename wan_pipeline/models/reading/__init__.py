"""What the files of a model hold: configurations, kinds and numbers of parameters."""
