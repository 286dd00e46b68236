"""Projects: a client or a film, with its setup. No torch, no page."""
