"""Durable jobs: the store, the worker process, its supervision."""
