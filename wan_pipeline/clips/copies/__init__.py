"""Copies of finished clips, for other folders and other people."""
