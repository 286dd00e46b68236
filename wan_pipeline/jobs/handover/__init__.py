"""Exports of clips: masters and other files, larger frames, more frames."""
