"""Input pictures and videos, encoding, receipts, and the gallery. No torch."""
