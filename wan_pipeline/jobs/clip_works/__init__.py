"""Sound, larger frames and more frames of finished clips: a queue of its own, behind that of the clips."""
