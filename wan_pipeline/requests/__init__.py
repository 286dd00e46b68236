"""What is asked for: drafts, presets and lists become frozen, validated requests; receipts become drafts again."""
