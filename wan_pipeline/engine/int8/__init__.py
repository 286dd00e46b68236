"""Products in int8: activations are rounded row by row as they come, weights are those of the int8 file."""
