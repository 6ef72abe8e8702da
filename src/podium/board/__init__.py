"""The board: a page over a folder of comparisons and runs, live while they train."""
