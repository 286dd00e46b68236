"""What prompts name and how they are written: a project's characters and places, and prompts made richer."""
