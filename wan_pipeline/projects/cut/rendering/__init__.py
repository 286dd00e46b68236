"""A cut as a video: its pictures, titles and sound."""
