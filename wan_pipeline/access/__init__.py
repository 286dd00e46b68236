"""Who asks, and what they may do: callers, roles, keys and limits. It knows no page and no Gradio."""
