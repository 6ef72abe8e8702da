"""The rules by which other libraries' checkpoints are read: one file a family, each found by itself."""
