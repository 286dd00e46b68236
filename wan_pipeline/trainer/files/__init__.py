"""The files of a training: names, state, checkpoints and the LoRA."""
