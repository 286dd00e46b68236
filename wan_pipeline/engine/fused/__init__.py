"""What treats each row of a block by itself - norms, rotary embedding, GELU, gates - in kernels of its own."""
