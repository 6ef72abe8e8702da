"""One way to turn a network and data into numbers."""
