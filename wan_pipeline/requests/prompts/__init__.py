"""How models read prompts, what prompts name, and prompts made richer."""
