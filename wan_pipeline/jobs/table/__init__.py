"""The table of jobs, in three views: what anybody may read, what the user changes, and what a worker does."""
