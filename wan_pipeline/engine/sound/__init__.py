"""Sound made by diffusers' audio pipelines."""
