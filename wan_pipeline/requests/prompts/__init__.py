"""How models read prompts."""
