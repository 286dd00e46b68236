"""Pictures and videos that a clip is made from: checked, normalised and kept in the workspace."""
