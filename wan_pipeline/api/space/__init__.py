"""The studio as a Hugging Face Space: visitors with keys of their own, the owner's login, and ZeroGPU."""
