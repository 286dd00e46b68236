"""Prompts written by a language model."""
