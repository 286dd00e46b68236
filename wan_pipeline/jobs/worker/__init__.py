"""The process that works the queue off."""
