"""The page. Gradio only."""
