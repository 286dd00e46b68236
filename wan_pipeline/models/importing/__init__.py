"""Models that the registry does not hold: taken from a folder, a repository or single files, and remembered."""
