"""What lies on disk: run folders, checkpoints, bundles and their digests."""
