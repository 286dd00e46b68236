"""The Hugging Face Hub: its files, its cache on the disk, and downloads that resume."""
