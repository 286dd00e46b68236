"""The bundled demo model's checkpoint, and the world it was trained on: vocabulary, captions and rendered scenes."""
