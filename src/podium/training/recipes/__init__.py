"""Named settings, ours and those of papers and articles."""
