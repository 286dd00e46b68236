"""What a LoRA file says: its header, its keys, its settings and its numbers."""
