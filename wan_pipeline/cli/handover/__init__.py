"""Commands for what leaves the studio: cuts, masters, sound, larger frames."""
