"""The process that processes the queue."""
