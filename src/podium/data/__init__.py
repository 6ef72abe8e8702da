"""Images in, uint8 batches out; knows nothing of models."""
