"""Work beside the queue, in processes of its own: model transfers, verifying clips, probing the machine."""
