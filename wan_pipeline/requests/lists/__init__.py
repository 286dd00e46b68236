"""Lists of clips: CSV, JSON Lines and text files, one clip a row."""
