"""Many architectures, one table."""
