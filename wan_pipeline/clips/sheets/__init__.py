"""Contact sheets: many clips on one picture, page or wall."""
