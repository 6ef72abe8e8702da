"""Named settings: our own, and those of papers and articles."""
