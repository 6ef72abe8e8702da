"""The networks: one file for each paper, and the blocks that several of them share."""
