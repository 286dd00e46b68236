"""Work beside the queue, in processes of their own: transfers of models, and verifying clips."""
