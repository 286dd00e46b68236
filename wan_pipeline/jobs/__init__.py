"""The queue: durable rows in three views, the worker process, its supervisor, and background processes."""
