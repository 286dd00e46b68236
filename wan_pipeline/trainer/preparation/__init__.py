"""What a training needs before its first step: examples encoded once, captions, clips made beside them."""
