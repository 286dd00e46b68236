"""Trainings as jobs: a table of the database, and a process that works on them while the queue is idle."""
