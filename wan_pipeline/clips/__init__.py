"""Files: input images, encoded clips, receipts."""
