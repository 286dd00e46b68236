"""Pictures and other files that a clip is made from."""
