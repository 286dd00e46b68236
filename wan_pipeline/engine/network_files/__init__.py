"""Small networks that people bring as safetensors files: which there are, what they hold, and what is refused."""
