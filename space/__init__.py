"""Makes the folder of a Hugging Face Space from this checkout, checks it, and runs it as the Hub would."""
